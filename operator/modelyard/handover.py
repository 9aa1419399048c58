"""What the steps of a run are told, on a cluster and on a laptop alike (docs/contracts.md). Pure.

A run here is one whose status says what its steps have read, ran in and published so far.
"""

from typing import Any, Protocol

from modelyard.api.canonical import as_json, compact_json
from modelyard.api.v1alpha1 import ModelVersion, TrainingRun
from modelyard.api.v1alpha1.names import CHAMPION_INPUT, MODEL_OUTPUT, VALIDATE_STEP
from modelyard.api.v1alpha1.trainingrun import (
    EvaluationSpec,
    InputMode,
    Judge,
    Output,
    ResolvedInput,
    Step,
    TrainingRunSpec,
)

Source = dict[str, str]
"""One entry of `MODELYARD_SOURCES`."""


class Located(Protocol):
    """Bytes in a store: an input, an output, an artifact."""

    @property
    def uri(self) -> str:
        """Where they are."""

    @property
    def digest(self) -> str:
        """What they hash to."""


def parameters_document(run: TrainingRun, step: str) -> str:
    """Return the content of parameters.json."""
    parameters = {parameter.name: parameter.value for parameter in run.spec.parameters}
    document = {"parameters": parameters, "seed": run.spec.seed, "model": run.spec.model, "step": step}
    return compact_json(document)


def expectations(spec: TrainingRunSpec) -> dict[str, Any]:
    """Return what is expected of each input that has expectations."""
    return {item.name: as_json(item.expectations) for item in spec.inputs if item.expectations is not None}


def outputs_of(run: TrainingRun) -> dict[str, Output]:
    """Return all outputs that the user's steps have published, by name."""
    steps = (step for step in run.status.steps if step.name != VALIDATE_STEP)
    return {output.name: output for step in steps for output in step.outputs}


def input_sources(run: TrainingRun) -> dict[str, Source]:
    """Return the resolved inputs by name."""
    modes = {item.name: item.mode for item in run.spec.inputs}
    return {item.name: _input_source(item, modes.get(item.name)) for item in run.status.inputs}


def step_sources(run: TrainingRun, step: Step, champion: ModelVersion | None) -> list[Source]:
    """Return what a step reads: inputs, outputs of earlier steps, and the champion, left out while there is none."""
    outputs = {name: named_source(name, output) for name, output in outputs_of(run).items()}
    available = {**input_sources(run), **outputs}
    wanted = [available[name] for name in step.inputs if name != CHAMPION_INPUT]
    return [*wanted, *(_champion_sources(champion) if CHAMPION_INPUT in step.inputs else ())]


def register_sources(run: TrainingRun, champion: ModelVersion | None) -> list[Source]:
    """Return what `register` reads: the model and, as the evaluation asks, the judged rows and the champion."""
    outputs, evaluation = outputs_of(run), run.spec.evaluation
    wanted = [named_source(MODEL_OUTPUT, outputs[MODEL_OUTPUT])]
    if evaluation and evaluation.dataset:
        wanted.append(named_source("dataset", outputs[evaluation.dataset.partition("/")[0]]))
    if evaluation and evaluation.by is Judge.MODELYARD:
        wanted += _champion_sources(champion)
    return wanted


def evaluation_document(run: TrainingRun, asked: EvaluationSpec, scored: ModelVersion | None) -> str:
    """Return how `register` judges the model.

    Args:
        run: the run.
        asked: its evaluation.
        scored: the champion that it is judged against; of the numbers of a step, the one that they speak of.
    """
    document = as_json(asked)
    if asked.by is Judge.STEP:
        document["reported"] = {metric.name: metric.value for metric in run.status.metrics}
    if scored:
        document["champion"] = {"version": scored.spec.version, "digest": scored.spec.artifact.digest}
    return compact_json(document)


def named_source(name: str, item: Located) -> Source:
    """Return a source that `fetch` brings to the folder of this name."""
    return {"name": name, "uri": item.uri, "digest": item.digest}


def _champion_sources(champion: ModelVersion | None) -> list[Source]:
    return [named_source(CHAMPION_INPUT, champion.spec.artifact)] if champion else []


def _input_source(item: ResolvedInput, mode: InputMode | None) -> Source:
    found = named_source(item.name, item)
    if item.version:
        found["version"] = item.version
    if mode is InputMode.REFERENCE:
        found["mode"] = mode.value
    return found
