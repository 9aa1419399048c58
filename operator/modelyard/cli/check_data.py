"""Whether data is what a run expects, asked on a laptop: the checks of the step `validate`, on a file that is here."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import ValidationError

from modelyard.api.v1alpha1 import Pipeline, TrainingRun
from modelyard.api.v1alpha1.names import API_VERSION
from modelyard.api.v1alpha1.pipeline import PipelineSpec
from modelyard.api.v1alpha1.trainingrun import Expectations, TrainingRunSpec

if TYPE_CHECKING:
    from modelyard.validation.findings import Finding
    from modelyard.validation.profile import InputProfile

_NEEDED: Final = ("numpy", "pandas", "pyarrow")


class DataError(Exception):
    """The check cannot be made; the message says what to do."""


@dataclass(frozen=True)
class CheckedData:
    """What a person is told.

    Attributes:
        findings: the worst first.
        is_valid: would a run go on with it?
        rows: how many rows were read; None when they cannot be read.
    """

    findings: "tuple[Finding, ...]"
    is_valid: bool
    rows: int | None


def check_data(
    data: Path, manifests: Path, input_name: str | None, previous: Path | None, save: Path | None
) -> CheckedData:
    """Check a file or folder against the expectations of an input.

    Args:
        data: the file or folder.
        manifests: YAML with one TrainingRun or Pipeline.
        input_name: which of its inputs; None = the only one with `expectations`.
        previous: a profile of an earlier check or run to compare with.
        save: where the profile of the data is written.

    Raises:
        DataError: a file or a package is missing, or says something else than it must.
    """
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise DataError(f"{', '.join(absent)} must be installed: pip install 'modelyard[training]'")
    from modelyard.validation.checking import check_input  # noqa: PLC0415 - other commands need none of this
    from modelyard.validation.findings import errors_of, worst_first  # noqa: PLC0415

    if not data.exists():
        raise DataError(f"'{data}' must be a file or folder")
    name, wanted = find_expectations(_read(manifests), str(manifests), input_name)
    checked = check_input(name, data, wanted, _profile(previous, name), datetime.now(UTC))
    if save and checked.profile:
        _save(save, checked.profile)
    return CheckedData(
        findings=worst_first(checked.findings),
        is_valid=not errors_of(checked.findings),
        rows=checked.profile.rows if checked.profile else None,
    )


def find_expectations(text: str, where: str, input_name: str | None) -> tuple[str, Expectations]:
    """Return the name and the expectations of an input of the TrainingRun or Pipeline in YAML.

    Args:
        text: YAML, of any number of documents.
        where: what it is called in messages.
        input_name: which input; None = the only one with `expectations`.

    Raises:
        DataError: it is not there, or not what the API allows.
    """
    inputs = {item.name: item for item in _spec(text, where).inputs}
    if input_name is not None and input_name not in inputs:
        raise DataError(f"{where}: has no input '{input_name}', it has {_names(inputs)}")
    asked = inputs.values() if input_name is None else [inputs[input_name]]
    candidates = [(item.name, item.expectations) for item in asked if item.expectations is not None]
    if not candidates:
        raise DataError(f"{where}: set `expectations` of {_names(item.name for item in asked)}")
    if len(candidates) > 1:
        raise DataError(f"{where}: name one of {_names(name for name, _ in candidates)} with --input")
    return candidates[0]


def _spec(text: str, where: str) -> TrainingRunSpec:
    try:
        found = [
            document
            for document in yaml.safe_load_all(text)
            if isinstance(document, dict)
            and document.get("apiVersion") == API_VERSION
            and document.get("kind") in {TrainingRun.kind, Pipeline.kind}
        ]
        if len(found) != 1:
            raise DataError(f"{where}: must hold one TrainingRun or Pipeline of {API_VERSION}, holds {len(found)}")
        if found[0]["kind"] == Pipeline.kind:
            return PipelineSpec.model_validate(found[0].get("spec")).template.spec
        return TrainingRunSpec.model_validate(found[0].get("spec"))
    except yaml.YAMLError as error:
        raise DataError(f"{where}: is no YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{where}: `spec.{'.'.join(map(str, first['loc']))}`: {first['msg']}") from None


def _profile(file: Path | None, name: str) -> "InputProfile | None":
    from modelyard.validation.profile import Profile  # noqa: PLC0415

    if file is None:
        return None
    try:
        profile = Profile.model_validate_json(_read(file)).input(name)
    except ValidationError as error:
        raise DataError(f"{file}: is no profile: {error.errors()[0]['msg']}") from None
    if profile is None:
        raise DataError(f"{file}: has no profile of the input '{name}'")
    return profile


def _save(file: Path, profile: "InputProfile") -> None:
    from modelyard.validation.profile import Profile  # noqa: PLC0415

    try:
        file.write_text(Profile(inputs=(profile,)).to_json(), encoding="utf-8")
    except OSError as error:
        raise DataError(f"'{file}' cannot be written: {error.strerror}") from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"'{file}' cannot be read: {error}") from None


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
