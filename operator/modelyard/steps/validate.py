"""The program of the init container `validate`: are the inputs what the run expects (docs/contracts.md)?

It ends well even when they are not: its findings are kept in the store too, so `publish` ends the step with them.
"""

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from modelyard.api.v1alpha1.names import PREVIOUS_INPUT, PROFILE_OUTPUT
from modelyard.api.v1alpha1.trainingrun import Expectations
from modelyard.steps import termination, workspace
from modelyard.storage.errors import InvalidSource
from modelyard.validation.checking import Checked, check_input
from modelyard.validation.findings import FINDINGS_FILE, Finding, errors_of, summary, table, to_json
from modelyard.validation.profile import PROFILE_FILE, Profile

DATA_INVALID: Final = "DataInvalid"
REASONS: Final = {"InvalidSource": "InvalidSource"}
_LOG: Final = logging.getLogger(__name__)


def main() -> Mapping[str, Any]:
    """Check all inputs that have expectations; write their profile, the findings and, if any is an error, a failure.

    Raises:
        InvalidSource: the environment is not what the contract says.
    """
    folder = workspace.inputs_folder()
    previous = read_previous(folder / PREVIOUS_INPUT / PROFILE_FILE)
    now = datetime.now(UTC)
    checked = [_checked(name, folder / name, wanted, previous, now) for name, wanted in read_expectations().items()]
    output = workspace.outputs_folder() / PROFILE_OUTPUT
    findings = tuple(finding for one in checked for finding in one.findings)
    profile = Profile(inputs=tuple(one.profile for one in checked if one.profile))
    (output / PROFILE_FILE).write_text(profile.to_json(), encoding="utf-8")
    (output / FINDINGS_FILE).write_text(to_json(findings), encoding="utf-8")
    _tell(findings)
    return {}


def read_previous(file: Path) -> Profile | None:
    """Return the previous run's profile, or None when there is none or a newer Modelyard wrote it in another form."""
    if not file.is_file():
        return None
    try:
        return Profile.model_validate_json(file.read_bytes())
    except ValidationError as error:
        _LOG.warning("the previous run's profile cannot be used: %s", error.errors()[0]["msg"])
        return None


def read_expectations() -> dict[str, Expectations]:
    """Return what is expected of each input, by its name.

    Raises:
        InvalidSource: MODELYARD_EXPECTATIONS is not what the contract says.
    """
    try:
        return TypeAdapter(dict[str, Expectations]).validate_json(workspace.require("MODELYARD_EXPECTATIONS"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidSource(f"MODELYARD_EXPECTATIONS: {where}: {first['msg']}") from None


def _checked(name: str, path: Path, wanted: Expectations, previous: Profile | None, now: datetime) -> Checked:
    start = time.monotonic()
    checked = check_input(name, path, wanted, previous.input(name) if previous else None, now)
    if checked.profile:
        rows, columns = checked.profile.rows, len(checked.profile.columns)
        _LOG.info("%s: %d rows, %d columns read in %.1f s", name, rows, columns, time.monotonic() - start)
    return checked


def _tell(findings: tuple[Finding, ...]) -> None:
    for line in table(findings):
        _LOG.info("%s", line)
    errors = errors_of(findings)
    if not errors:
        _LOG.info("the inputs are as expected (%d warnings)", len(findings))
        return
    failure = {"reason": DATA_INVALID, "message": summary(errors)}
    Path(workspace.require("MODELYARD_FAILURE_FILE")).write_text(json.dumps(failure), encoding="utf-8")


if __name__ == "__main__":
    termination.run(main, REASONS)
