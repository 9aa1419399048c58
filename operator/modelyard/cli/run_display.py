"""What `modelyard run` shows: progress bars on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Final, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from typing_extensions import override

from modelyard.api.v1alpha1.trainingrun import ResolvedInput
from modelyard.local.events import Listener, StepEnd
from modelyard.local.result import Outcome

_MEGABYTE: Final = 1e6
_SHOWN_METRICS: Final = 4


class PlainDisplay(Listener):
    """A line for each thing that happens."""

    def __init__(self, out: TextIO) -> None:
        """Write to `out`."""
        self._out = out

    @override
    def remark(self, text: str) -> None:
        self._say(f"note: {text}")

    @override
    def input_resolved(self, item: ResolvedInput) -> None:
        self._say(f"input {item.name}: {item.digest} ({item.bytes / _MEGABYTE:.1f} MB)")

    @override
    def step_started(self, step: str, attempt: int) -> None:
        self._say(f"{step}: started" + (f" (attempt {attempt})" if attempt > 1 else ""))

    @override
    def line(self, step: str, text: str) -> None:
        self._say(f"{step} | {_printable(text)}")

    @override
    def progress(self, step: str, metrics: Mapping[str, str], percentage: float | None) -> None:
        pass

    @override
    def step_ended(self, end: StepEnd) -> None:
        self._say(_ended(end))

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class BarDisplay(Listener):
    """A bar for all steps and one for the running step; lines of the code scroll above them."""

    def __init__(self, console: Console, steps: int) -> None:
        """Prepare the bars; they show from `with` on.

        Args:
            console: a terminal.
            steps: how many steps there are.
        """
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[what]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._all: TaskID = self._bars.add_task("steps", total=steps, what=f"0/{steps}")
        self._steps = steps
        self._done = 0
        self._step: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._bars.stop()

    @override
    def remark(self, text: str) -> None:
        self._console.print(f"note: {text}", style="yellow", markup=False)

    @override
    def input_resolved(self, item: ResolvedInput) -> None:
        text = f"input {item.name}: {item.digest} ({item.bytes / _MEGABYTE:.1f} MB)"
        self._console.print(text, style="dim", markup=False)

    @override
    def step_started(self, step: str, attempt: int) -> None:
        self._step = self._bars.add_task(step, total=None, what=f"attempt {attempt}" if attempt > 1 else "")

    @override
    def line(self, step: str, text: str) -> None:
        self._console.print(f"{step} | {_printable(text)}", markup=False)

    @override
    def progress(self, step: str, metrics: Mapping[str, str], percentage: float | None) -> None:
        if self._step is None:
            return
        newest = list(metrics.items())[-_SHOWN_METRICS:]
        what = "  ".join(f"{_printable(name)} {value}" for name, value in newest)
        total = None if percentage is None else 100.0
        self._bars.update(self._step, total=total, completed=percentage or 0.0, what=what)

    @override
    def step_ended(self, end: StepEnd) -> None:
        if self._step is not None:
            self._bars.remove_task(self._step)
            self._step = None
        self._done += not end.reason
        self._bars.update(self._all, completed=self._done, what=f"{self._done}/{self._steps}")
        self._console.print(_ended(end), style="red" if end.reason else "green", markup=False)


def summary(outcome: Outcome) -> Iterator[str]:
    """Yield what a person wants to know at the end."""
    if not outcome.good:
        yield f"{outcome.run.metadata.name} failed: {outcome.reason}: {_first_line(outcome.message)}"
        return
    for metric in outcome.metrics:
        yield f"{_printable(metric.name)}: {metric.value}"
    if outcome.version is None or outcome.version_file is None:
        yield f"{outcome.run.metadata.name}: {outcome.message}"
        return
    if judged := outcome.version["spec"].get("evaluation"):
        yield f"{judged['verdict']}: {judged.get('message', '')}"
    yield f"made {outcome.model_version_name}: {outcome.version_file}"
    if outcome.report_file:
        yield f"report: {outcome.report_file}"
    yield f"serve it: modelyard serve {outcome.version_file.with_suffix('')} --name {outcome.run.spec.model}"


def _ended(end: StepEnd) -> str:
    if not end.reason:
        return f"{end.step}: succeeded in {end.seconds:.1f} s"
    again = f"; tried again in {end.retry_seconds:.0f} s" if end.retry_seconds is not None else ""
    return f"{end.step}: {end.reason} after {end.seconds:.1f} s: {_first_line(end.message)}{again}"


def _first_line(message: str) -> str:
    """Return a message without the lines of the log behind it, which were shown already."""
    return _printable(message.partition("\n")[0])


def _printable(text: str) -> str:
    """Return a text without what would move the cursor or change colours."""
    return "".join(character if character.isprintable() or character in "\t\n" else "�" for character in text)
