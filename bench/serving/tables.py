"""The figures as tables."""

from collections.abc import Iterator, Sequence
from statistics import median

from bench.serving.bars import ALL_PEERS, Bar, monitoring_change
from bench.serving.drains import Replacements
from bench.serving.figures import LIMIT, Cell, Sample, Samples, cpu_us, per_second
from bench.serving.rounds import MONITORED, Problems
from bench.serving.servers import FLOOR, MONITORING, OURS, UNMONITORED
from bench.serving.starts import Start
from bench.serving.workloads import BINARY, JSON


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table with columns of even width; the first row has the titles."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def model_table(samples: Samples, model: str, cells: Sequence[Cell], problems: Problems) -> str:
    """Requests/s, p50 and p99 in ms, and CPU time of a request in us, for each server and load; `-` = not measured."""
    loads = sorted({(cell.rows, cell.connections) for cell in cells})
    rows = [
        [
            f"{model}: requests/s / p50 / p99 / CPU us",
            *(f"{count} row{'s' if count > 1 else ''} c={connections}" for count, connections in loads),
        ]
    ]
    for server in (OURS, MONITORED, *ALL_PEERS, FLOOR):
        for encoding in (JSON, BINARY):
            texts = [_text(samples.of(model, server, Cell(*load, encoding))) for load in loads]
            if any(text != "-" for text in texts):
                rows.append([f"{server}, {encoding}", *texts])
        if problem := problems.of(model, server):
            rows.append([f"{server}: FAILED: {' '.join(problem.split())[:160]}", *("-" for _ in loads)])
    limits = [samples.median(cpu_us, model, LIMIT, Cell(count, 1)) for count, _ in loads]
    rows.append(["ONNX Runtime alone", *("-" if limit is None else f"{limit:.1f}" for limit in limits)])
    return aligned(rows)


def _text(samples: Sequence[Sample]) -> str:
    if not samples:
        return "-"
    figures = (
        median(map(per_second, samples)),
        median(sample.p50_ms for sample in samples),
        median(sample.p99_ms for sample in samples),
        median(map(cpu_us, samples)),
    )
    failed = sum(sample.failed for sample in samples)
    return "{:.0f} / {:.2f} / {:.1f} / {:.1f}".format(*figures) + (f" ({failed} FAILED)" if failed else "")


def start_table(starts: Sequence[Start]) -> str:
    """Time from a start to the first correct answer, and memory."""
    rows = [["server", "model", "first correct answer, s", "least", "most", "memory, MB"]]
    rows += [
        [
            start.server,
            start.model,
            f"{median(start.seconds):.2f}",
            f"{min(start.seconds):.2f}",
            f"{max(start.seconds):.2f}",
            f"{start.memory_bytes / 1e6:.0f}",
        ]
        for start in starts
    ]
    return aligned(rows)


def monitoring_table(samples: Samples, models: Sequence[str]) -> str:
    """What monitoring adds to the CPU time of a request, by model."""

    def texts(variant: str) -> Iterator[str]:
        for model in models:
            change = monitoring_change(samples, variant, [model])
            yield f"{change.value:+.1%} ({change.low:+.1%} to {change.high:+.1%})" if change else "-"

    rows = [["CPU time of a request, over unmonitored", *models]]
    rows += [[variant, *texts(variant)] for variant in MONITORING if variant != UNMONITORED]
    return aligned(rows)


def replacement_table(replacements: Sequence[Replacements]) -> str:
    """What failed while servers or models were replaced under load."""
    rows = [["server", "what", "times", "answered", "failed", "how"]]
    rows += [
        [
            one.server,
            one.kind,
            str(one.times),
            str(one.answered),
            str(one.failures),
            ", ".join(f"{name} {count}" for name, count in sorted(one.failed.items())) or "-",
        ]
        for one in replacements
    ]
    return aligned(rows)


def bar_table(bars: Sequence[Bar]) -> str:
    """Each bar with its limit and what was seen: the ratio of medians, and the range of it in the rounds."""
    rows = [["bar", "limit", "seen", "in the rounds", "", "against"]]
    for bar in bars:
        limit = f"{'>=' if bar.at_least else '<='} {bar.text(bar.floor)}"
        seen = bar.text(bar.seen.value) if bar.seen else "-"
        spread = f"{bar.text(bar.seen.low)} to {bar.text(bar.seen.high)}" if bar.seen and bar.seen.varies else "-"
        rows.append([bar.name, limit, seen, spread, bar.verdict, bar.note])
    return aligned(rows)
