"""What a run leaves behind: tables and bars for people, all raw figures for those who doubt them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.bars import machine
from bench.serving import tables
from bench.serving.bars import Bar
from bench.serving.drains import Replacements
from bench.serving.environments import pinned_version, program_versions
from bench.serving.figures import Cell, Sample, Samples
from bench.serving.rounds import Problems
from bench.serving.servers import PEERS
from bench.serving.starts import Start

_OUR_PACKAGES: Final = (
    "modelyard",
    "onnxruntime",
    "numpy",
    "uvloop",
    "httptools",
    "orjson",
    "pysimdjson",
    "scikit-learn",
    "skl2onnx",
)


@dataclass(frozen=True)
class Results:
    """All that one run measured."""

    samples: Sequence[Sample]
    starts: Sequence[Start]
    replacements: Sequence[Replacements]
    problems: Problems
    bars: Sequence[Bar]


def save(results: Results, options: Mapping[str, Any], folder: Path) -> Path:
    """Write everything, a line a sample; return the file."""
    now = datetime.now(UTC)
    head = {
        "time": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {name: version(name) for name in _OUR_PACKAGES} | program_versions(),
        "peers": {peer: pinned_version(peer) for peer in PEERS},
        "options": options,
        "problems": [[*key, text] for key, text in results.problems.found.items()],
        "bars": [asdict(bar) | {"holds": bar.holds} for bar in results.bars],
        "starts": [asdict(start) for start in results.starts],
        "replacements": [asdict(one) for one in results.replacements],
        "columns": [field.name for field in fields(Sample)],
    }
    lines = ",\n".join(json.dumps(astuple(sample)) for sample in results.samples)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{now:%Y-%m-%d}-serving.json"
    file.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "samples": [\n{lines}\n]}}\n')
    return file


def show(results: Results, models: Sequence[str], cells: Sequence[Cell]) -> None:
    """Print the tables and the bars."""
    samples = Samples(results.samples)
    parts = [tables.model_table(samples, model, cells, results.problems) for model in models]
    parts.append(tables.monitoring_table(samples, models))
    parts.append(tables.start_table(results.starts))
    parts.append(tables.replacement_table(results.replacements))
    parts.append(tables.bar_table(results.bars))
    print("", *parts, sep="\n\n")
