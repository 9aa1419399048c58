"""Tables in a folder of Parquet and CSV files."""

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from modelyard.validation.reading import MISSING_TEXTS

SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")


class TableError(ValueError):
    """A table cannot be read or used; the message names the file or column and what is allowed."""


def table_files(folder: Path) -> tuple[Path, ...]:
    """Return the table files at any depth, sorted by path, or the file that is given.

    Names that begin with '.' or '_' do not count.

    Raises:
        TableError: there is none, or there is a file of another kind.
    """
    if folder.is_file():
        return (folder,)
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    for path in found:
        if not path.name.endswith(SUFFIXES):
            raise TableError(f"{path.relative_to(folder.parent)}: must end in {', '.join(SUFFIXES)}")
    if not found:
        raise TableError(f"{folder}: must hold at least one file that ends in {', '.join(SUFFIXES)}")
    return tuple(found)


def read_table(folder: Path, columns: tuple[str, ...] | None = None) -> Any:
    """Read all tables of a folder as one; files may differ in their columns, an absent one is missing values.

    Args:
        folder: where the files are.
        columns: what to read, those that exist; None = all.

    Returns:
        A pyarrow.Table.

    Raises:
        TableError: a file cannot be read, or the types of a column differ too much between files.
    """
    tables = []
    for path in table_files(folder):
        try:
            tables.append(_read(path, columns))
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{path.relative_to(folder.parent)}: {_first_line(error)}") from None
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise TableError(f"{folder.name}: columns must have one type in all files: {_first_line(error)}") from None


def _read(path: Path, columns: tuple[str, ...] | None) -> Any:
    if path.name.endswith(".parquet"):
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        return file.read([name for name in names if columns is None or name in columns])
    options = pyarrow.csv.ConvertOptions(null_values=MISSING_TEXTS, strings_can_be_null=True)
    table = pyarrow.csv.read_csv(path, convert_options=options)
    return table.select([name for name in table.column_names if columns is None or name in columns])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:500] if str(error) else type(error).__name__
