"""What each step of a run gets and runs on a laptop: the counterpart of a step's Job (docs/contracts.md). Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from modelyard.api.canonical import as_json, compact_json
from modelyard.api.v1alpha1 import ModelVersion, TrainingRun
from modelyard.api.v1alpha1.modelversion import (
    Evaluation,
    ModelVersionSpec,
)
from modelyard.api.v1alpha1.names import (
    API_VERSION,
    LABEL_MODEL,
    LABEL_VERSION,
    MODEL_OUTPUT,
    model_version_name,
)
from modelyard.api.v1alpha1.trainingrun import (
    Expectations,
    SchemaReference,
    Step,
)
from modelyard.handover import evaluation_document, outputs_of
from modelyard.lineage.record import record_of
from modelyard.lineage.run import RunRecord, run_to_environment
from modelyard.local.manifest import RunError

FINAL: Final = frozenset(
    {"ArtifactCorrupt", "ChampionUnusable", "DataInvalid", "DatasetInvalid", "DigestMismatch"}
    | {"InvalidModel", "InvalidSource", "MetricMissing", "OutputEmpty", "OutputMissing", "OutputRefused"}
    | {"AccessDenied", "InputNotFound", "RefNotFound", "StoreUnreachable"}
)
"""Failures that the next attempt would meet again. Those of the store are among them: nobody waits for it here, beyond
the patience of `fetch` and `publish`."""

INPUTS_DIR: Final = "/modelyard/inputs"
WORK_DIR: Final = "/modelyard/work"
PASSED_ON: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)
"""Variables of the caller that user code sees; nothing else, so that no credentials reach it."""
FIRST_DELAY_SECONDS: Final = 1.0
LAST_DELAY_SECONDS: Final = 30.0

_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class Runner(StrEnum):
    """What stands for a step's container."""

    PROCESS = "process"
    CONTAINER = "container"


@dataclass(frozen=True)
class Folders:
    """Where the files of a step are, as its user code sees them."""

    inputs: str
    work: str

    @property
    def outputs(self) -> str:
        """The folder of the outputs."""
        return f"{self.work}/outputs"

    @property
    def metrics(self) -> str:
        """The file of the metrics."""
        return f"{self.work}/metrics.jsonl"


def check_steps(run: TrainingRun, runner: Runner, folder: Path) -> None:
    """Refuse what cannot be done on this machine.

    Args:
        run: the run.
        runner: what stands for containers.
        folder: where commands run.

    Raises:
        RunError: the text names the field.
    """
    for index, step in enumerate(run.spec.steps):
        where = f"spec.steps[{index}]"
        if step.env_from:
            raise RunError(f"{where}.envFrom: there are no Secrets and ConfigMaps on this machine; say `env` instead")
        if step.num_nodes > 1:
            raise RunError(f"{where}.numNodes: must be 1 on this machine, which is one node")
        if runner is Runner.CONTAINER:
            continue
        if step.image and not step.command:
            raise RunError(
                f"{where}.command: must be set, since the image's own entrypoint is known to a container engine only; "
                "or run with --runner container"
            )
        if step.working_dir and not Path(step.working_dir).is_dir():
            raise RunError(
                f"{where}.workingDir: '{step.working_dir}' must be a folder of this machine (without workingDir, "
                f"commands run in {folder}), or run with --runner container"
            )


def remarks(run: TrainingRun, runner: Runner) -> Iterator[str]:
    """Yield in a sentence each what a cluster would do and a laptop does not."""
    if run.spec.suspend:
        yield "spec.suspend is not heeded here: the run starts"
    limited = [step.name for step in run.spec.steps if step.resources.limits or step.resources.requests]
    if limited:
        yield f"resources of {', '.join(limited)} are not reserved or limited on this machine"
    compared = [item.name for item in run.spec.inputs if item.expectations and _compares(item.expectations)]
    if compared:
        yield f"{', '.join(compared)}: not compared with a previous run (modelyard check-data --previous does)"
    resuming = [step.name for step in run.spec.steps if step.checkpoint]
    if resuming:
        yield f"checkpoints of {', '.join(resuming)} are not kept: each attempt starts from nothing"
    images = [step.name for step in run.spec.steps if step.image]
    if images and runner is Runner.PROCESS:
        yield f"{', '.join(images)}: run in this Python environment, not in their images (--runner container does)"


def user_command(step: Step, python: str, environment: Mapping[str, str]) -> list[str]:
    """Return what the step's container would run, `$(NAME)` expanded; empty = the image's own entrypoint.

    Args:
        step: the step.
        python: the interpreter of built-in steps.
        environment: the step's environment.
    """
    if step.uses:
        module, _, action = step.uses.partition("@")[0].partition("/")
        return [python, "-m", f"modelyard.steps.{module}", action]
    return [expand(part, environment) for part in (*step.command, *step.args)]


def user_environment(run: TrainingRun, step: Step, folders: Folders, passed_on: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the step's user code: the contract's, then the step's own."""
    variables = {
        **passed_on,
        "MODELYARD_INPUTS_DIR": folders.inputs,
        "MODELYARD_OUTPUTS_DIR": folders.outputs,
        "MODELYARD_PARAMETERS_FILE": f"{folders.inputs}/.modelyard/parameters.json",
        "MODELYARD_METRICS_FILE": folders.metrics,
        "MODELYARD_SEED": str(run.spec.seed),
        "HOME": folders.work,
        "TMPDIR": f"{folders.work}/tmp",  # noqa: S108 - in the step's own folder
    }
    for variable in step.env:
        variables[variable.name] = expand(variable.value, variables)
    return variables


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return a text with `$(NAME)` expanded as Kubernetes does: unknown names stay, `$$` is a dollar sign."""

    def replaced(match: re.Match[str]) -> str:
        return "$" if match[1] is None else environment.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


def container_command(
    step: Step,
    command: Sequence[str],
    environment: Mapping[str, str],
    folders: Folders,
    *,
    engine: str,
    name: str,
    user: str,
) -> list[str]:
    """Return the command of docker or podman that stands for the step's container.

    Args:
        step: the step; it has an image.
        command: its command and arguments, expanded.
        environment: its environment, with the paths inside the container.
        folders: where the files are on this machine.
        engine: `docker` or `podman`.
        name: name of the container.
        user: `uid:gid` that owns them.
    """
    options = [
        "run",
        "--rm",
        "--name",
        name,
        "--user",
        user,
        "--security-opt",
        "no-new-privileges",
        "--cap-drop",
        "ALL",
    ]
    options += ["--volume", f"{folders.inputs}:{INPUTS_DIR}:ro", "--volume", f"{folders.work}:{WORK_DIR}"]
    for key, value in environment.items():
        options += ["--env", f"{key}={value}"]
    if step.working_dir:
        options += ["--workdir", step.working_dir]
    arguments = list(command)
    if step.command:
        options += ["--entrypoint", arguments.pop(0)]
    return [engine, *options, str(step.image), *arguments]


def register_environment(
    run: TrainingRun, version: int, *, champion: ModelVersion | None, scored: ModelVersion | None
) -> dict[str, str]:
    """Return what `register` is told: the record as it is before it is judged, the run, and how to judge.

    Args:
        run: the run, with a status that says what its steps read, ran in and published.
        version: number of the version.
        champion: the champion when the version is made.
        scored: the champion that it is judged against; of the numbers of a step, the one that they speak of.
    """
    variables = {
        "MODELYARD_RECORD": compact_json(as_json(record_of(run, version, outputs_of(run)[MODEL_OUTPUT], champion)))
    }
    if run.spec.evaluation:
        variables["MODELYARD_EVALUATION"] = evaluation_document(run, run.spec.evaluation, scored)
    return {**variables, **run_to_environment(RunRecord.of(run))}


def model_version(record: ModelVersionSpec, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a version: the record with what `register` found."""
    artifact = {**as_json(record.artifact), **found.get("artifact", {})}
    judged = {"evaluation": as_json(Evaluation.model_validate(found["evaluation"]))} if "evaluation" in found else {}
    return {
        "apiVersion": API_VERSION,
        "kind": ModelVersion.kind,
        "metadata": {
            "name": model_version_name(record.model, record.version),
            "labels": {LABEL_MODEL: record.model, LABEL_VERSION: str(record.version)},
        },
        "spec": {**as_json(record), "artifact": artifact, **judged},
    }


def retry_delay(failures: int) -> float:
    """Return the seconds to wait after the n-th failure, from 1: doubling, bounded."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10), LAST_DELAY_SECONDS)


def may_retry(reason: str, *, step_failures: int, run_failures: int, step: Step, run: TrainingRun) -> bool:
    """Say whether a failed attempt is tried again, by its reason and the limits of step and run."""
    return reason not in FINAL and step_failures <= step.backoff_limit and run_failures <= run.spec.backoff_limit


def _compares(wanted: Expectations) -> bool:
    return wanted.schema_ is SchemaReference.SAME_AS_PREVIOUS
