"""The one error of this package."""

from typing import ClassVar

from pydantic import ValidationError


class InvalidModel(ValueError):  # noqa: N818 - named like the reason that conditions and termination messages carry
    """A model directory breaks the format; the message names the file, the field and what is allowed."""

    reason: ClassVar[str] = "InvalidModel"


def describe(error: ValidationError) -> str:
    """Return the first problem of a pydantic error as `field[0].part: what is wrong`."""
    first, *rest = error.errors(include_url=False, include_context=False)
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(rest)} more)" if rest else ""
    return f"{path}: {message}{more}" if path else f"{message}{more}"
