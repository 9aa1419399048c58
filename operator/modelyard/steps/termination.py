"""How our own containers end: a JSON object in the termination log, and an exit code."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from modelyard.storage.results import MESSAGE_BYTES, to_json, to_message

INTERNAL_ERROR: Final = "InternalError"
_MESSAGE_CHARACTERS: Final = 1024
_TERMINATED: Final = 128 + signal.SIGTERM
_LOG: Final = logging.getLogger(__name__)


def run(main: Callable[[], Mapping[str, Any]], reasons: Mapping[str, str]) -> NoReturn:
    """Run a container's program and end the process.

    What `main` returns becomes the termination message, exit 0. An error with a `reason` becomes
    `{"reason", "message"}`, exit 1. Any other error is a defect: its traceback is logged, its reason `InternalError`.

    Args:
        main: the program.
        reasons: allowed reasons, and what each is called in this container's contract.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    # Process 1 of a container would ignore SIGTERM. Nothing is left half done: uploads and fetched folders are atomic.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(_TERMINATED))
    try:
        write(to_message(main()))
    except Exception as error:  # noqa: BLE001 - whatever it is, the operator must learn of it
        reason = reasons.get(getattr(error, "reason", ""), INTERNAL_ERROR)
        message = str(error) if reason != INTERNAL_ERROR else f"{type(error).__name__}: {error}"
        _LOG.error("%s: %s", reason, message, exc_info=reason == INTERNAL_ERROR)
        write(failure(reason, message))
        sys.exit(1)
    sys.exit(0)


def failure(reason: str, message: str) -> str:
    """Return a failure as JSON that fits the termination log."""
    document = to_json({"reason": reason, "message": message[:_MESSAGE_CHARACTERS]})
    if len(document) > MESSAGE_BYTES:  # JSON needs at most six bytes for a character
        document = to_json({"reason": reason, "message": message[: _MESSAGE_CHARACTERS // 2]})
    return document.decode()


def write(message: str) -> None:
    """Write the termination log. The kubelet makes the file; without it, nobody will read the message."""
    path = Path(os.environ.get("MODELYARD_TERMINATION_LOG", "/dev/termination-log"))
    if path.exists():
        path.write_text(message, encoding="utf-8")
