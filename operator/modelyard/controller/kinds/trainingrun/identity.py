"""What decides the result of a step, as one digest: steps of the same identity need not run twice. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from modelyard.api.canonical import as_json, json_digest
from modelyard.api.v1alpha1.modelversion import Lineage
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Step, TrainingRunSpec

Source = Mapping[str, str]
"""`name`, `uri` and `digest` of what a step reads, with `mode` and `version` when the step is only told where it is."""

_DIGEST: Final = re.compile(r".*@(sha256:[0-9a-f]{64})")
_TREE: Final = re.compile(r".*/blobs/sha256/[0-9a-f]{64}")


def digest_in(image: str | None) -> str | None:
    """Return the digest by which an image is named; None when it is named by a tag, which may move."""
    named = _DIGEST.fullmatch(image or "")
    return named[1] if named else None


def code_of(step: Step, trainer: str, ran: str | None = None) -> str | None:
    """Return what stands for the code that a step runs, None when that is not known for sure.

    Args:
        step: the step.
        trainer: the image of built-in steps; a release never changes under its tag.
        ran: the image that ran, as the node says; None beforehand.
    """
    return f"{step.uses} {trainer}" if step.uses else digest_in(step.image) or digest_in(ran)


def step_identity(spec: TrainingRunSpec, step: Step, code: str, sources: Iterable[Source]) -> str:
    """Return the identity of a step: all that its container can see, and nothing of how much it may use.

    Args:
        spec: the run.
        step: the step.
        code: what it runs, by `code_of`.
        sources: what it reads, the champion too.
    """
    return json_digest(
        {
            "schema": "modelyard.dev/step-identity/v1",
            "model": spec.model,
            "step": step.name,
            "code": code,
            "command": list(step.command),
            "args": list(step.args),
            "env": [[variable.name, variable.value] for variable in step.env],
            "workingDir": step.working_dir,
            "parameters": {parameter.name: parameter.value for parameter in spec.parameters},
            "seed": spec.seed,
            "inputs": {source["name"]: _seen_of(source) for source in sources},
            "outputs": sorted(step.outputs),
            **({"numNodes": step.num_nodes} if step.num_nodes > 1 else {}),
        }
    )


def version_identity(
    model_digest: str,
    lineage: Lineage,
    *,
    evaluation: EvaluationSpec | None,
    dataset_digest: str | None,
    rival_digest: str | None,
) -> str:
    """Return the identity of the step that registers a model: what its record says, apart from number and run.

    Args:
        model_digest: digest of the model.
        lineage: what it was made from.
        evaluation: how it is judged.
        dataset_digest: digest of the output with the judged rows.
        rival_digest: digest of the champion that it is judged against.
    """
    judged = as_json(evaluation) if evaluation else None
    return json_digest(
        {
            "schema": "modelyard.dev/version-identity/v1",
            "model": model_digest,
            "code": {code.step: code.image for code in lineage.code},
            "inputs": {item.name: item.digest for item in lineage.inputs},
            "parameters": lineage.parameters_digest,
            "seed": lineage.seed,
            "evaluation": judged,
            "dataset": dataset_digest,
            "rival": rival_digest if evaluation else None,
        }
    )


def _seen_of(source: Source) -> list[str | None]:
    """Return what a container can see of a source: the bytes and a file's name, or where a referenced one is."""
    if "mode" in source:
        return [source["digest"], source["uri"], source.get("version")]
    return [source["digest"], _file_name(source["uri"])]


def _file_name(uri: str) -> str | None:
    """Return the name of the file that a single object is fetched to; a folder's digest covers its names."""
    return None if uri.endswith("/") or _TREE.fullmatch(uri) else uri.rpartition("/")[2]
