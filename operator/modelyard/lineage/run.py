"""`run.json`: all that is needed to run a TrainingRun again, kept beside the record of the model that it made. Pure."""

import json
from collections.abc import Mapping
from itertools import count, takewhile
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.common import ApiModel, ImageName, Metrics, NamedDecimal, ResourceName, Time
from modelyard.api.v1alpha1.trainingrun import Output, ResolvedInput, StepName, TrainingRun, TrainingRunSpec
from modelyard.storage.manifests import digest_of

RUN_SCHEMA: Final = "modelyard.dev/run/v1"
RUN_FILE: Final = "run.json"
MAX_RUN_BYTES: Final = 2 * 1024 * 1024
_VARIABLE: Final = "MODELYARD_RUN_RECORD_"
_PIECE_CHARACTERS: Final = 30_000
"""Linux takes at most 128 KiB in one environment variable, and a character has at most four bytes."""


class StepRecord(ApiModel):
    """What one step was."""

    name: StepName
    image: ImageName | None = None
    """Image that ran, by digest where the node knew it."""
    start_time: Time | None = None
    completion_time: Time | None = None
    outputs: tuple[Output, ...] = ()


class RunRecord(ApiModel):
    """A run as it was when its model was registered."""

    schema_: Annotated[Literal["modelyard.dev/run/v1"], Field(alias="schema")] = RUN_SCHEMA
    name: ResourceName
    namespace: ResourceName
    uid: Annotated[str, Field(max_length=64)]
    start_time: Time | None = None
    spec: TrainingRunSpec
    """What was run, without what may change while it runs."""
    inputs: tuple[ResolvedInput, ...] = ()
    """What the inputs of `spec` were."""
    steps: tuple[StepRecord, ...] = ()
    """The steps of `spec`, in order."""
    metrics: Metrics = ()
    """What the steps measured."""

    @classmethod
    def of(cls, run: TrainingRun) -> "RunRecord":
        """Return the record of a run whose steps have succeeded."""
        states = {step.name: step for step in run.status.steps}
        known = [states[step.name] for step in run.spec.steps if step.name in states]
        return cls(
            name=run.metadata.name,
            namespace=run.metadata.namespace,
            uid=run.metadata.uid,
            start_time=run.status.start_time,
            spec=run.spec.model_copy(update={"suspend": False, "ttl_seconds_after_finished": None}),
            inputs=run.status.inputs,
            steps=tuple(
                StepRecord(
                    name=step.name,
                    image=step.image,
                    start_time=step.start_time,
                    completion_time=step.completion_time,
                    outputs=step.outputs,
                )
                for step in known
            ),
            metrics=tuple(NamedDecimal(name=metric.name, value=metric.value) for metric in run.status.metrics),
        )

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters by name."""
        return {parameter.name: parameter.value for parameter in self.spec.parameters}

    def to_json(self) -> str:
        """Return the canonical JSON."""
        document = as_json(self)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Digest of the canonical JSON: `lineage.runDigest` of the ModelVersion."""
        return digest_of(self.to_json().encode())


def parse_run(data: bytes | str) -> RunRecord:
    """Read a `run.json`.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    try:
        return RunRecord.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise ValueError(f"{RUN_FILE}: {field}: {first['msg']}") from None


def run_to_environment(run: RunRecord) -> dict[str, str]:
    """Return `run.json` as environment variables, in pieces that fit one each, numbered from 0."""
    text = run.to_json()
    starts = range(0, len(text), _PIECE_CHARACTERS)
    return {f"{_VARIABLE}{number}": text[start : start + _PIECE_CHARACTERS] for number, start in enumerate(starts)}


def run_from_environment(variables: Mapping[str, str], digest: str) -> str:
    """Return the JSON that `run_to_environment` gave, as it was: a newer writer may know fields that we do not.

    Raises:
        ValueError: it is not the one with this digest.
    """
    text = "".join(takewhile(bool, (variables.get(f"{_VARIABLE}{number}", "") for number in count())))
    found = digest_of(text.encode())
    if found != digest:
        raise ValueError(f"{_VARIABLE}0 and so on: must be the run with the digest {digest}, have {found}")
    return text
