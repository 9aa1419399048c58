"""What became of a run, as the status of its TrainingRun."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1 import TrainingRun
from modelyard.api.v1alpha1.common import Condition, ConditionStatus
from modelyard.api.v1alpha1.names import API_VERSION
from modelyard.api.v1alpha1.trainingrun import (
    ConditionType,
    Output,
    Reason,
    ResolvedInput,
    StepMetric,
    StepState,
    StepStatus,
    TrainingRunStatus,
)

MAX_METRICS: Final = 16
STOPPED: Final = "Interrupted"
EXIT_STOPPED: Final = 130
_MESSAGE_CHARACTERS: Final = 1024


@dataclass
class Attempt:
    """The newest attempt of a step."""

    step: str
    number: int
    started: datetime
    failures: int = 0
    ended: datetime | None = None
    reason: str = ""
    message: str = ""
    image: str | None = None
    outputs: tuple[Output, ...] = ()

    def end(self, time: datetime, reason: str, message: str) -> None:
        """Take down how it ended; without a reason it succeeded."""
        self.ended, self.reason, self.message = time, reason, message
        self.failures += bool(reason)

    def status(self) -> StepStatus:
        """Return it as the status says it."""
        running = StepState.RUNNING if self.ended is None else StepState.SUCCEEDED
        return StepStatus(
            name=self.step,
            state=StepState.FAILED if self.reason else running,
            attempt=self.number,
            failures=self.failures,
            start_time=_time(self.started),
            completion_time=_time(self.ended) if self.ended else None,
            image=self.image,
            reason=self.reason or None,
            message=self.message[:_MESSAGE_CHARACTERS] or None,
            outputs=self.outputs,
        )


@dataclass
class Outcome:
    """What is known of a run so far.

    Attributes:
        run: the run.
        started: when it started.
        inputs: what was read.
        model_version_name: the version's name, from when its number is reserved.
        version: the manifest of the version that it made.
        version_file: where that manifest is.
        report_file: the page that explains its evaluation, when it was judged.
        reason: why it ended; empty while it goes on.
        message: what a person needs to know of it.
    """

    run: TrainingRun
    started: datetime
    inputs: tuple[ResolvedInput, ...] = ()
    model_version_name: str | None = None
    version: Mapping[str, Any] | None = None
    version_file: Path | None = None
    report_file: Path | None = None
    reason: str = ""
    message: str = ""
    _attempts: dict[str, Attempt] = field(default_factory=dict)
    _metrics: dict[str, StepMetric] = field(default_factory=dict)

    def begin(self, step: str, time: datetime) -> Attempt:
        """Take down that the next attempt of a step starts."""
        last = self._attempts.get(step)
        number, failures = (last.number + 1, last.failures) if last else (1, 0)
        self._attempts[step] = Attempt(step, number, time, failures)
        return self._attempts[step]

    def published(self, step: str, result: Mapping[str, Any], image: str | None) -> None:
        """Take down what a step published, and the image that it ran in, if there was one."""
        self._attempts[step].image = image
        self._attempts[step].outputs = tuple(Output.model_validate(entry) for entry in result["outputs"])
        for entry in result["metrics"]:
            self._metrics[entry["name"]] = StepMetric(name=entry["name"], value=entry["value"], step=step)

    def succeeded(self) -> "Outcome":
        """Take down that all went well."""
        made = f"made {self.model_version_name}" if self.model_version_name else "all steps have succeeded"
        self.reason, self.message = Reason.SUCCEEDED, made
        return self

    def failed(self, reason: str, message: str) -> "Outcome":
        """Take down why it ended early."""
        self.reason, self.message = reason, message
        return self

    @property
    def good(self) -> bool:
        """Whether the run succeeded."""
        return self.reason == Reason.SUCCEEDED

    @property
    def exit_code(self) -> int:
        """What a process should end with: 0, 1 for a failed run, 130 for one that was stopped."""
        return 0 if self.good else EXIT_STOPPED if self.reason == STOPPED else 1

    @property
    def metrics(self) -> tuple[StepMetric, ...]:
        """The metrics of the result, as many as a status holds."""
        return tuple(self._metrics.values())[:MAX_METRICS]

    def snapshot(self, ended: datetime | None = None) -> TrainingRun:
        """Return the run with its status so far or, with the time of its end, as it ended."""
        attempts = [attempt.status() for attempt in self._attempts.values()]
        done = {status.name for status in attempts}
        waiting = [
            StepStatus(name=step.name, state=StepState.WAITING) for step in self.run.spec.steps if step.name not in done
        ]
        status = TrainingRunStatus(
            start_time=_time(self.started),
            completion_time=_time(ended) if ended else None,
            inputs=self.inputs,
            step=attempts[-1].name if attempts else None,
            steps=(*attempts, *waiting),
            metrics=self.metrics,
            model_version_name=self.model_version_name,
            conditions=tuple(self._conditions(ended)) if ended else (),
        )
        return self.run.model_copy(update={"status": status})

    def manifest(self, ended: datetime) -> dict[str, Any]:
        """Return the run as it ended, as a cluster shows it."""
        run = as_json(self.snapshot(ended))
        named = self.run.metadata
        metadata = {"name": named.name, "namespace": named.namespace, "uid": named.uid}
        return {
            "apiVersion": API_VERSION,
            "kind": TrainingRun.kind,
            "metadata": metadata,
            "spec": run["spec"],
            "status": run["status"],
        }

    def _conditions(self, ended: datetime) -> list[Condition]:
        status = ConditionStatus.TRUE if self.good else ConditionStatus.FALSE
        types = [(ConditionType.READY, status), (ConditionType.SUCCEEDED, status)]
        if not self.good:
            types.append((ConditionType.STALLED, ConditionStatus.TRUE))
        return [
            Condition(
                type=kind,
                status=value,
                reason=self.reason,
                message=self.message[:_MESSAGE_CHARACTERS],
                last_transition_time=_time(ended),
            )
            for kind, value in types
        ]


def _time(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
