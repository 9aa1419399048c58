"""What is to be run: the one TrainingRun of a file, with what the command line says in its place. Pure."""

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from modelyard.api.v1alpha1 import TrainingRun
from modelyard.api.v1alpha1.names import API_VERSION, GROUP, MAX_RUN_NAME
from modelyard.manifests.documents import Document
from modelyard.manifests.validation import Verdict, validate

NAMESPACE: Final = "local"
_PIPELINE: Final = "Pipeline"
_RUNNABLE: Final = (TrainingRun.kind, _PIPELINE)


class RunError(Exception):
    """The run cannot be made as it is asked for; the text names the field or option and what is allowed."""


def read_run(
    documents: Iterable[Document], parameters: Mapping[str, str], inputs: Mapping[str, str], uid: str
) -> TrainingRun:
    """Return the TrainingRun that a file holds, or that its Pipeline makes.

    Args:
        documents: of the file; exactly one must be a TrainingRun or a Pipeline, the others are passed over.
        parameters: values in place of, or beside, those of the spec.
        inputs: URIs in place of those of the spec, by name of the input.
        uid: of the run.

    Raises:
        RunError: there is none, or it is not valid.
    """
    document = _only(documents)
    manifest = _training_run(document.value, uid)
    spec = manifest.get("spec")
    if isinstance(spec, dict):
        _set_parameters(spec, parameters)
        _set_inputs(spec, inputs)
    report = validate(Document(manifest, document.line, {} if document.value["kind"] == _PIPELINE else document.lines))
    if report.verdict is not Verdict.VALID:
        raise RunError("\n".join(f"line {found.line}: {found.field}: {found.message}" for found in report.findings))
    manifest["metadata"] = {"namespace": NAMESPACE, **manifest["metadata"], "uid": uid}
    manifest.pop("status", None)
    return TrainingRun.model_validate(manifest)


def parse_pairs(option: str, pairs: Iterable[str]) -> dict[str, str]:
    """Return `name=value` options by name.

    Raises:
        RunError: one is not like that, or a name comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise RunError(f"{option} must be NAME=VALUE, got '{pair}'")
        if name in found:
            raise RunError(f"{option} gives '{name}' twice")
        found[name] = value
    return found


def _only(documents: Iterable[Document]) -> Document:
    found = [item for item in documents if isinstance(item.value, dict) and _is_runnable(item.value)]
    if len(found) != 1:
        raise RunError(f"the file must hold exactly one TrainingRun or Pipeline, holds {len(found)}")
    return found[0]


def _is_runnable(value: Mapping[str, Any]) -> bool:
    return str(value.get("apiVersion", "")).partition("/")[0] == GROUP and value.get("kind") in _RUNNABLE


def _training_run(value: Mapping[str, Any], uid: str) -> dict[str, Any]:
    manifest = copy.deepcopy(dict(value))
    metadata = manifest.get("metadata")
    if value["kind"] == _PIPELINE:
        template = (manifest.get("spec") or {}).get("template")
        if not isinstance(template, dict):
            raise RunError("spec.template: must be set")
        manifest = {"apiVersion": API_VERSION, "kind": TrainingRun.kind, "spec": template.get("spec")}
        name = metadata.get("name") if isinstance(metadata, dict) else None
        metadata = {"generateName": f"{name}-"} if isinstance(name, str) else None
    if isinstance(metadata, dict):
        manifest["metadata"] = _named(metadata, uid)
    return manifest


def _named(metadata: Mapping[str, Any], uid: str) -> dict[str, Any]:
    prefix = metadata.get("generateName")
    if "name" in metadata or not isinstance(prefix, str):
        return dict(metadata)
    suffix = re.sub(r"[^0-9a-f]", "", uid)[:8]
    return {**metadata, "name": prefix[: MAX_RUN_NAME - len(suffix)] + suffix}


def _set_parameters(spec: dict[str, Any], parameters: Mapping[str, str]) -> None:
    if not parameters:
        return
    given = {
        entry["name"]: entry for entry in spec.get("parameters") or () if isinstance(entry, dict) and "name" in entry
    }
    changed = {name: {"name": name, "value": value} for name, value in parameters.items()}
    spec["parameters"] = list({**given, **changed}.values())


def _set_inputs(spec: dict[str, Any], inputs: Mapping[str, str]) -> None:
    entries = [entry for entry in spec.get("inputs") or () if isinstance(entry, dict)]
    names = [str(entry.get("name")) for entry in entries]
    for name, uri in inputs.items():
        if name not in names:
            raise RunError(
                f"--input: must name an entry of spec.inputs ({', '.join(names) or 'there are none'}), got '{name}'"
            )
        entry = entries[names.index(name)]
        entry["uri"] = uri
        entry.pop("digest", None)  # it pins the data that was replaced
