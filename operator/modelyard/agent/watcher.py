"""The agent's work: one task a subject looks at the store, and writes the subject's Observation when that says more."""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from modelyard.agent import observations
from modelyard.agent.inputs import Inputs, in_thread
from modelyard.agent.kube import ApiError, Kube
from modelyard.agent.lookout import Lookout
from modelyard.agent.metrics import Metrics
from modelyard.agent.mirror import Mirror
from modelyard.agent.polls import Polls
from modelyard.agent.settings import Settings
from modelyard.agent.sightings import Sighting, error, polled_input, recall, run_input
from modelyard.agent.subjects import (
    Input,
    Pipeline,
    Run,
    Subject,
    Version,
    read_pipeline,
    read_run,
    read_version,
)
from modelyard.storage.errors import StorageError
from modelyard.storage.objects import STORE_URI
from modelyard.storage.retry import delays

URGENT_READERS: Final = 4
ROUTINE_READERS: Final = 2
"""Sources that are hashed at once; the others wait, so memory and traffic are bounded."""
PARTIAL_SECONDS: Final = 10.0
"""Time after which an Observation says that reading still goes on."""
NO_STORE: Final = (
    f"the Secret 'modelyard-store' of this namespace is missing or has no {STORE_URI}: "
    "make it, for instance with the chart modelyard-tenant"
)
STILL_READING: Final = "the agent is still reading the bytes"
CALM: Final = 6
"""How much more seldom than faulty inputs those are looked at that are as they should be."""
_LOG: Final = logging.getLogger(__name__)


class Watcher:
    """Observes every Pipeline, TrainingRun that is not finished and ModelVersion of one namespace."""

    def __init__(self, kube: Kube, settings: Settings, metrics: Metrics, lookout: Lookout | None) -> None:
        """Start nothing yet.

        Args:
            kube: the API of the namespace.
            settings: how often to look.
            metrics: counts what happens.
            lookout: looks at the store; None = the store is not known.
        """
        self._kube = kube
        self._settings = settings
        self._metrics = metrics
        self._lookout = lookout
        self._runs: Mirror[Run] = Mirror(kube, "trainingruns", read_run, self._run_changed, metrics)
        self._versions: Mirror[Version] = Mirror(kube, "modelversions", read_version, self._version_changed, metrics)
        self._pipelines: Mirror[Pipeline] = Mirror(kube, "pipelines", read_pipeline, self._pipeline_changed, metrics)
        self._observations: Mirror[dict[str, Any]] = Mirror(
            kube, "observations", lambda manifest: manifest["spec"], self._wake_observed, metrics
        )
        self._tasks: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._urgent = ThreadPoolExecutor(URGENT_READERS, "urgent")
        self._routine = ThreadPoolExecutor(ROUTINE_READERS, "routine")
        self._inputs = Inputs(lookout, metrics, self._urgent, URGENT_READERS) if lookout else None
        self._polls = Polls(self._inputs, self._wake_observed) if self._inputs else None

    @property
    def ready(self) -> bool:
        """Whether all that is to be observed is known."""
        mirrors = (self._pipelines, self._runs, self._versions, self._observations)
        return all(mirror.synced.is_set() for mirror in mirrors)

    async def run(self) -> None:
        """Observe until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._observations.run())
            # What was observed before must be known first, or all of it would be written again.
            await self._observations.synced.wait()
            self._group = group
            group.create_task(self._pipelines.run())
            group.create_task(self._runs.run())
            group.create_task(self._versions.run())

    def _run_changed(self, name: str) -> None:
        if self._runs.get(name) is None:
            self._metrics.progress.show(name, None)
        self._wake(f"trainingrun-{name}", self._runs.get(name))

    def _version_changed(self, name: str) -> None:
        self._wake(f"modelversion-{name}", self._versions.get(name))

    def _pipeline_changed(self, name: str) -> None:
        self._wake(f"pipeline-{name}", self._pipelines.get(name))

    def _wake_observed(self, name: str) -> None:
        if name in self._tasks:
            self._tasks[name][1].set()

    def _wake(self, observation: str, subject: Subject | None) -> None:
        known = self._tasks.get(observation)
        if known is not None and subject is not None:
            known[1].set()
        elif known is not None:
            known[0].cancel()
            del self._tasks[observation]
            if self._polls:
                self._polls.unsubscribe(observation)
        elif subject is not None and self._group is not None:
            changed = asyncio.Event()
            self._tasks[observation] = self._group.create_task(self._attend(subject, changed)), changed
        self._metrics.subjects.set(len(self._tasks))

    async def _attend(self, subject: Subject, changed: asyncio.Event) -> None:
        """Look, write, and wait, until cancelled."""
        pauses = delays(first=1.0, longest=60.0)
        await self._spread_after_a_restart(subject, changed)
        while (current := self._current(subject)) is not None:
            changed.clear()
            try:
                again = await self._look(current)
            except ApiError as error:
                self._metrics.write_failures.inc()
                _LOG.warning("%s: %s; trying again", current.reference.observation, error)
                again = next(pauses)
            except Exception:  # noqa: BLE001 - one odd object must not keep the others from being observed
                self._metrics.write_failures.inc()
                _LOG.exception("%s: a defect of the agent; trying again", current.reference.observation)
                again = next(pauses)
            else:
                pauses = delays(first=1.0, longest=60.0)
            await _wait(changed, again)

    async def _spread_after_a_restart(self, subject: Subject, changed: asyncio.Event) -> None:
        """Do not hash again at once what was verified before the agent was started."""
        if isinstance(subject, Version) and self._artifact_before(subject).get("state") == "Verified":
            await _wait(changed, random.uniform(0, self._settings.verify_seconds))  # noqa: S311 - no secret

    async def _look(self, subject: Subject) -> float | None:
        """Look at the store, write what is new, and return seconds until the next look; None = not before a change."""
        pause: float | None = None
        match subject:
            case Run():
                pause = await self._look_at_run(subject)
            case Version():
                pause = await self._look_at_version(subject)
            case Pipeline():
                await self._look_at_pipeline(subject)
        return pause if pause is None else pause * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

    async def _write(self, subject: Subject, seen: Mapping[str, Any]) -> None:
        name = subject.reference.observation
        if observations.says(self._observations.get(name), subject.reference, seen):
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kept = await self._kube.apply("observations", observations.build_observation(subject.reference, seen, now))
        self._observations.set(name, kept["spec"])
        self._metrics.writes.labels(kind=subject.reference.kind).inc()

    async def _look_at_run(self, run: Run) -> float | None:
        before = self._before(run)
        results = await self._see_results(run, before.get("results", ()))
        progress = await self._see_progress(run, before.get("progress"))
        self._metrics.progress.show(run.reference.name, progress)
        work = {"results": results, "progress": progress}
        inputs = before.get("inputs", []) if run.resolved else await self._see_inputs(run, work)
        # What was said of outputs that nobody asks about any more is left as it is: nothing is written for that alone.
        outputs = await self._see_outputs(run) if run.candidates else before.get("outputs", [])
        await self._write(run, {"inputs": inputs, "outputs": outputs, **work})
        pauses = [self._settings.result_seconds] if len(results) < len(run.running) or run.candidates else []
        if len(results) < len(run.running) and _shows_progress(run):
            pauses.append(self._settings.progress_seconds)
        if not run.resolved:
            pauses.append(self._settings.input_seconds * (1 if _faulty(run, inputs) else CALM))
        return min(pauses, default=None)

    async def _see_inputs(self, run: Run, work: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Look at all inputs; what is seen after PARTIAL_SECONDS is written while the rest is still read.

        Args:
            run: whose inputs.
            work: what is seen of its steps.
        """
        reading = asyncio.gather(*(self._see_input(item) for item in run.inputs))
        try:
            done, _ = await asyncio.wait([reading], timeout=PARTIAL_SECONDS)
            if not done:
                await self._write(run, {"inputs": [{"name": item.name} for item in run.inputs], **work})
            return await reading
        finally:
            reading.cancel()

    async def _see_input(self, item: Input) -> dict[str, Any]:
        if self._inputs is None:
            return {"name": item.name, "error": error("SecretMissing", NO_STORE)}
        try:
            return run_input(item.name, await self._inputs.look(item.uri))
        except StorageError as failure:
            return {"name": item.name, "error": error(failure.reason, str(failure))}

    async def _see_results(self, run: Run, before: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        known = {(entry["step"], entry["attempt"]): entry["result"] for entry in before}
        found: list[dict[str, Any]] = []
        for step, attempt in run.running:
            result = known.get((step, attempt)) or await self._see_result(run, step, attempt)
            if result is not None:
                found.append({"step": step, "attempt": attempt, "result": result})
        return found

    async def _see_result(self, run: Run, step: str, attempt: int) -> str | None:
        if self._lookout is None:
            return None
        try:
            result = await in_thread(None, self._lookout.result, run.reference.uid, step, attempt)
        except StorageError as error:
            self._count("result", error.reason)
            _LOG.warning("%s: result of step '%s': %s", run.reference.observation, step, error)
            return None
        self._count("result")
        return result

    async def _look_at_pipeline(self, pipeline: Pipeline) -> None:
        """Write what is known of the inputs; the next time when there is news of one."""
        before = {item.get("uri", ""): recall(item) for item in self._before(pipeline).get("inputs", ())}
        uris = [item.uri for item in pipeline.inputs]
        if self._polls is None:
            missing = error("SecretMissing", NO_STORE)
            sightings = {uri: Sighting(before.get(uri, Sighting()).seen, missing) for uri in uris}
        else:
            self._polls.subscribe(pipeline.reference.observation, uris, pipeline.poll_seconds, before)
            await self._polls.wait_for_first(uris, PARTIAL_SECONDS)
            sightings = {uri: self._polls.get(uri) for uri in uris}
        inputs = [polled_input(item.name, item.uri, sightings[item.uri]) for item in pipeline.inputs]
        await self._write(pipeline, {"inputs": inputs})

    async def _see_outputs(self, run: Run) -> list[dict[str, str]]:
        return await asyncio.gather(*(self._see_output(uri) for uri in run.candidates))

    async def _see_output(self, uri: str) -> dict[str, str]:
        if self._lookout is None:
            return observations.output(uri, "Unreachable", NO_STORE)
        state, message = await in_thread(self._urgent, self._lookout.look_for, uri)
        self._count("output", "" if state == "Present" else state)
        return observations.output(uri, state, message)

    async def _see_progress(self, run: Run, before: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return what the step that runs says of itself; what it said before when the store cannot be asked."""
        live = [(step, attempt) for step, attempt in run.running if step in run.live]
        if self._lookout is None or not live:
            return None
        step, attempt = live[0]
        same = before is not None and (before["step"], before["attempt"]) == live[0]
        try:
            progress = await in_thread(None, self._lookout.progress, run.reference.uid, step, attempt)
        except StorageError as error:
            self._count("progress", error.reason)
            return before if same else None
        self._count("progress")
        return progress

    async def _look_at_version(self, version: Version) -> float | None:
        if self._lookout is None:
            await self._write(version, observations.artifact(version.digest, "Unreachable", NO_STORE))
            return None
        # Somebody waits for the first look, and nobody for one of the many that follow.
        readers = self._routine if self._artifact_before(version) else self._urgent
        verifying = asyncio.ensure_future(in_thread(readers, self._lookout.verify, version.uri, version.digest))
        try:
            await asyncio.wait([verifying], timeout=PARTIAL_SECONDS)
            if not verifying.done() and not self._artifact_before(version):
                await self._write(version, observations.artifact(version.digest, "Unreachable", STILL_READING))
            state, message = await verifying
        finally:
            verifying.cancel()
        self._count("artifact", "" if state == "Verified" else state)
        await self._write(version, observations.artifact(version.digest, state, message))
        return self._settings.verify_seconds if state == "Verified" else self._settings.recheck_seconds

    def _current(self, subject: Subject) -> Subject | None:
        name = subject.reference.name
        match subject:
            case Run():
                return self._runs.get(name)
            case Version():
                return self._versions.get(name)
            case Pipeline():
                return self._pipelines.get(name)

    def _before(self, subject: Subject) -> Mapping[str, Any]:
        """Return the spec of the Observation that this very object has; empty when it has none."""
        spec = self._observations.get(subject.reference.observation) or {}
        return spec if spec.get("subject", {}).get("uid") == subject.reference.uid else {}

    def _artifact_before(self, version: Version) -> Mapping[str, Any]:
        artifact: Mapping[str, Any] = self._before(version).get("artifact", {})
        return artifact if artifact.get("digest") == version.digest else {}

    def _count(self, what: str, reason: str = "") -> None:
        self._metrics.looks.labels(what=what, reason=reason).inc()


def _shows_progress(run: Run) -> bool:
    return any(step in run.live for step, _ in run.running)


def _faulty(run: Run, inputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an input cannot be read, or is not what the run pins."""
    seen = {item["name"]: item for item in inputs}
    return any(
        "error" in seen[item.name] or item.pinned not in (None, seen[item.name]["digest"]) for item in run.inputs
    )


async def _wait(changed: asyncio.Event, seconds: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await changed.wait()
