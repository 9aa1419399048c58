"""A run from its inputs to its version: fetch, the step's command and publish as child processes, as in a pod."""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from modelyard.api.canonical import compact_json
from modelyard.api.v1alpha1 import ModelVersion, TrainingRun
from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.api.v1alpha1.names import (
    CHAMPION_INPUT,
    MODEL_OUTPUT,
    PROFILE_OUTPUT,
    REGISTER_STEP,
    VALIDATE_STEP,
    model_version_name,
)
from modelyard.api.v1alpha1.trainingrun import Judge, ResolvedInput, Step
from modelyard.handover import expectations, outputs_of, parameters_document, register_sources, step_sources
from modelyard.local import plan
from modelyard.local.events import Listener, StepEnd
from modelyard.local.plan import Folders, Runner
from modelyard.local.process import TICK_SECONDS, Ending, Exit, Log, Watch, remove_container, run_process
from modelyard.local.result import STOPPED, Attempt, Outcome
from modelyard.local.store import LocalStore
from modelyard.local.tail import MetricsTail

STORE_DEADLINE_SECONDS: Final = "60"
_LOG_LINES: Final = 10
_MESSAGE_CHARACTERS: Final = 1000


@dataclass(frozen=True)
class Options:
    """How a run is run.

    Attributes:
        folder: where commands run: the folder of the manifest.
        runner: what stands for containers.
        engine: `docker` or `podman`, for the runner `container`.
        keep: whether the working folders stay.
    """

    folder: Path
    runner: Runner
    engine: str
    keep: bool


class Failed(Exception):  # noqa: N818 - the end of an attempt, not a defect
    """An attempt failed."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Stopped(Exception):  # noqa: N818 - as above
    """Somebody wants the run to end."""


class Session:
    """One run in one store."""

    def __init__(
        self, run: TrainingRun, store: LocalStore, options: Options, listener: Listener, stopped: Callable[[], bool]
    ) -> None:
        """Set up; nothing is read or started yet.

        Args:
            run: what is run.
            store: where its artifacts go.
            options: how it is run.
            listener: told what happens.
            stopped: asked often whether the run is to end.
        """
        self._run = run
        self._store = store
        self._options = options
        self._listener = listener
        self._stopped = stopped
        self._deadline: float | None = None
        self._failures = 0
        self._scored: list[ModelVersion | None] = []
        """The champion that the last step with the input `champion` was given."""
        self._outcome = Outcome(run, datetime.now(UTC))

    def execute(self) -> Outcome:
        """Check the inputs, run all steps, then register the model if there is one.

        Raises:
            RunError: an input cannot be read, or the store cannot be used.
        """
        if self._run.spec.active_deadline_seconds:
            self._deadline = time.monotonic() + self._run.spec.active_deadline_seconds
        for remark in plan.remarks(self._run, self._options.runner):
            self._listener.remark(remark)
        try:
            self._resolve()
            self._validate()
            for step in self._run.spec.steps:
                self._repeat(step, partial(self._attempt, step))
            if MODEL_OUTPUT in outputs_of(self._outcome.snapshot()):
                self._register()
        except Failed as failure:
            return self._outcome.failed(failure.reason, str(failure))
        except Stopped:
            return self._outcome.failed(STOPPED, "the run was stopped")
        return self._outcome.succeeded()

    def _resolve(self) -> None:
        found: list[ResolvedInput] = []
        for item in self._run.spec.inputs:
            self._check_stopped()
            found.append(self._store.resolve(item))
            self._listener.input_resolved(found[-1])
        self._outcome.inputs = tuple(found)

    def _repeat(self, step: Step, work: Callable[[int], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Try a step until it succeeds or may not be tried again, and return its result."""
        failures = 0
        while True:
            attempt = self._outcome.begin(step.name, datetime.now(UTC))
            self._listener.step_started(step.name, attempt.number)
            started = time.monotonic()
            try:
                result = work(attempt.number)
            except Failed as failure:
                failures += 1
                self._failures += 1
                retried = self._may_retry(step, failure, failures)
                delay = plan.retry_delay(failures) if retried else None
                self._end(attempt, started, failure, delay)
                if delay is None:
                    raise
                self._wait(delay)
            except Stopped:
                self._end(attempt, started, Failed(STOPPED, "stopped"), None)
                raise
            else:
                self._end(attempt, started, None, None)
                return result

    def _may_retry(self, step: Step, failure: Failed, failures: int) -> bool:
        in_time = self._deadline is None or time.monotonic() < self._deadline
        return in_time and plan.may_retry(
            failure.reason, step_failures=failures, run_failures=self._failures, step=step, run=self._run
        )

    def _end(self, attempt: Attempt, started: float, failure: Failed | None, delay: float | None) -> None:
        reason, message = (failure.reason, str(failure)) if failure else ("", "")
        attempt.end(datetime.now(UTC), reason, message)
        seconds = time.monotonic() - started
        self._listener.step_ended(StepEnd(attempt.step, attempt.number, seconds, reason, message, delay))

    def _validate(self) -> None:
        wanted = expectations(self._run.spec)
        if not wanted:
            return
        step = Step(name=VALIDATE_STEP, inputs=tuple(wanted), outputs=(PROFILE_OUTPUT,))

        def work(number: int) -> Mapping[str, Any]:
            with self._workplace(step.name, number, self._deadline) as place:
                failure = {"MODELYARD_FAILURE_FILE": str(place.work / "failure.json")}
                sources = step_sources(self._outcome.snapshot(), step, None)
                place.fetch(sources, step.outputs, parameters_document(self._run, step.name))
                place.program("validate", {"MODELYARD_EXPECTATIONS": compact_json(wanted), **failure})
                result = place.publish(step.outputs, failure)
            self._outcome.published(step.name, result, None)
            return result

        self._repeat(step, work)

    def _attempt(self, step: Step, number: int) -> Mapping[str, Any]:
        deadline = _earlier(self._deadline, step.active_deadline_seconds)
        with self._workplace(step.name, number, deadline) as place:
            champion = self._store.champion(self._run.spec.model)
            sources = step_sources(self._outcome.snapshot(), step, champion)
            place.fetch(sources, step.outputs, parameters_document(self._run, step.name))
            self._user_code(step, place)
            result = place.publish(step.outputs)
        if CHAMPION_INPUT in step.inputs:
            self._scored = [champion]
        image = step.image if self._options.runner is Runner.CONTAINER else None
        self._outcome.published(step.name, result, image)
        return result

    def _workplace(self, step: str, number: int, deadline: float | None) -> "Workplace":
        uid, name = self._run.metadata.uid, self._run.metadata.name
        return Workplace(
            root=self._store.work_folder(f"{name}-{uid[:8]}", step, number),
            log_file=self._store.log_file(uid, step, number),
            identity={"MODELYARD_RUN_UID": uid, "MODELYARD_STEP": step, "MODELYARD_ATTEMPT": str(number)},
            keep=self._options.keep,
            listen=partial(self._listener.line, step),
            deadline=deadline,
            stopped=self._stopped,
        )

    def _user_code(self, step: Step, place: "Workplace") -> None:
        tail = MetricsTail(place.work / "metrics.jsonl")

        def tick() -> None:
            tail.read()
            self._listener.progress(step.name, tail.metrics, tail.percentage)

        here = Folders(str(place.inputs), str(place.work))
        if step.image and self._options.runner is Runner.CONTAINER:
            try:
                place.run(self._container(step, here, place.name), os.environ, self._options.folder, tick)
            finally:
                remove_container(self._options.engine, place.name)
            return
        passed_on = {name: os.environ[name] for name in plan.PASSED_ON if name in os.environ}
        passed_on["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{passed_on.get('PATH', os.defpath)}"
        environment = plan.user_environment(self._run, step, here, passed_on)
        command = plan.user_command(step, sys.executable, environment)
        place.run(command, environment, Path(step.working_dir or self._options.folder), tick)

    def _container(self, step: Step, here: Folders, name: str) -> list[str]:
        environment = plan.user_environment(self._run, step, Folders(plan.INPUTS_DIR, plan.WORK_DIR), {})
        command = plan.user_command(step, sys.executable, environment)
        user = f"{os.getuid()}:{os.getgid()}"
        return plan.container_command(
            step, command, environment, here, engine=self._options.engine, name=name, user=user
        )

    def _register(self) -> None:
        run = self._outcome.snapshot()
        with self._store.locked(self._wait):
            champion = self._store.champion(run.spec.model)
            version = self._store.reserve_version(run.spec.model)
            self._outcome.model_version_name = model_version_name(run.spec.model, version)
            variables = plan.register_environment(
                run, version, champion=champion, scored=self._judged_against(champion)
            )
            sources = register_sources(run, champion)
            self._repeat(Step(name=REGISTER_STEP), partial(self._judge, sources, variables))

    def _judged_against(self, champion: ModelVersion | None) -> ModelVersion | None:
        """Return the champion of which a step's numbers speak, when these judge; else today's."""
        evaluation = self._run.spec.evaluation
        if evaluation and evaluation.by is Judge.STEP and self._scored:
            return self._scored[0]
        return champion

    def _judge(
        self, sources: Sequence[Mapping[str, str]], variables: Mapping[str, str], number: int
    ) -> Mapping[str, Any]:
        record = ModelVersionSpec.model_validate_json(variables["MODELYARD_RECORD"])
        with self._workplace(REGISTER_STEP, number, self._deadline) as place:
            place.fetch(sources, (), parameters_document(self._run, REGISTER_STEP))
            result = place.program("register", variables)
            version = plan.model_version(record, result)
            self._outcome.version = version
            self._outcome.report_file = self._store.report_file(version["spec"])
            self._outcome.version_file = self._store.add_version(version, place.inputs / MODEL_OUTPUT)
        return result

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check_stopped()
            time.sleep(min(left, TICK_SECONDS))

    def _check_stopped(self) -> None:
        if self._stopped():
            raise Stopped


class Workplace:
    """The folders of one attempt, and the programs that run in it. A failed attempt's folders stay to be looked at."""

    def __init__(
        self,
        *,
        root: Path,
        log_file: Path,
        identity: Mapping[str, str],
        keep: bool,
        listen: Callable[[str], None],
        deadline: float | None,
        stopped: Callable[[], bool],
    ) -> None:
        self.root = root
        self.inputs = root / "inputs"
        self.work = root / "work"
        self.name = f"modelyard-{uuid.uuid4().hex[:12]}"
        self._message = root / "termination-log"
        self._log_file = log_file
        self._identity = identity
        self._keep = keep
        self._listen = listen
        self._deadline = deadline
        self._stopped = stopped

    def __enter__(self) -> Self:
        shutil.rmtree(self.root, ignore_errors=True)
        for folder in (self.inputs, self.work):
            folder.mkdir(parents=True)
        self._log = Log(self._log_file, self._listen)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._log.close()
        if self.inputs.is_dir():
            _set_writable(self.inputs, writable=True)
        if kind is None and not self._keep:
            shutil.rmtree(self.root, ignore_errors=True)
            with suppress(OSError):
                self.root.parent.rmdir()

    def fetch(self, sources: Sequence[Mapping[str, str]], outputs: Sequence[str], parameters: str) -> None:
        """Bring the inputs and make the folders of the outputs; inputs are read-only from here on."""
        self.program(
            "fetch",
            {
                "MODELYARD_SOURCES": compact_json(list(sources)),
                "MODELYARD_OUTPUTS": compact_json(list(outputs)),
                "MODELYARD_PARAMETERS": parameters,
            },
        )
        _set_writable(self.inputs, writable=False)

    def publish(self, outputs: Sequence[str], variables: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """Keep the outputs and return what they hash to."""
        return self.program("publish", {"MODELYARD_OUTPUTS": compact_json(list(outputs)), **(variables or {})})

    def program(self, module: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
        """Run a program of `modelyard.steps` and return its termination message.

        Raises:
            Failed: with the program's own reason.
            Stopped: the run is to end.
        """
        self._message.write_text("")
        environment = {
            "MODELYARD_STORE_DEADLINE_SECONDS": STORE_DEADLINE_SECONDS,
            **os.environ,
            **self._identity,
            "MODELYARD_INPUTS_DIR": str(self.inputs),
            "MODELYARD_OUTPUTS_DIR": str(self.work / "outputs"),
            "MODELYARD_METRICS_FILE": str(self.work / "metrics.jsonl"),
            "MODELYARD_TERMINATION_LOG": str(self._message),
            **variables,
        }
        command = [sys.executable, "-m", f"modelyard.steps.{module}"]
        ended = self._process(command, environment, self.root, show=False, tick=lambda: None)
        message = self._answer()
        if ended.code != 0:
            raise Failed(message.get("reason", "InternalError"), message.get("message", self._last_lines(ended)))
        return message

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, tick: Callable[[], None]
    ) -> None:
        """Run the user's code.

        Raises:
            Failed: it did not end with 0, or took too long.
            Stopped: the run is to end.
        """
        ended = self._process(command, environment, folder, show=True, tick=tick)
        if ended.code != 0:
            raise Failed("StepFailed", self._last_lines(ended))

    def _process(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        show: bool,
        tick: Callable[[], None],
    ) -> Exit:
        self._log.show = show
        watch = Watch(self._deadline, self._stopped, tick)
        ended = run_process(command, environment=environment, folder=folder, log=self._log, watch=watch)
        if ended.ending is Ending.STOPPED:
            raise Stopped
        if ended.ending is Ending.DEADLINE:
            raise Failed("DeadlineExceeded", "took longer than activeDeadlineSeconds of the step or the run allows")
        return ended

    def _answer(self) -> Mapping[str, Any]:
        try:
            answer = json.loads(self._message.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return answer if isinstance(answer, dict) else {}

    def _last_lines(self, ended: Exit) -> str:
        with self._log_file.open("rb") as log:
            log.seek(max(0, self._log_file.stat().st_size - _MESSAGE_CHARACTERS * 4))
            lines = log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
        end = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        return f"{end}; the whole log is in {self._log_file}\n" + "\n".join(lines)[-_MESSAGE_CHARACTERS:]


def _earlier(deadline: float | None, seconds: int | None) -> float | None:
    own = time.monotonic() + seconds if seconds else None
    return min((value for value in (deadline, own) if value is not None), default=None)


def _set_writable(folder: Path, *, writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode & 0o777
            path.chmod(mode | 0o200 if writable else mode & ~0o222)
