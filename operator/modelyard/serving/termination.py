"""The container's last word (docs/contracts.md, "Termination messages")."""

from pathlib import Path
from typing import Final

import orjson

MAX_BYTES: Final = 4096


def termination_message(reason: str, message: str) -> bytes:
    """Return `{"reason", "message"}` as JSON that Kubernetes keeps whole; a long message is cut."""
    while len(encoded := orjson.dumps({"reason": reason, "message": message})) > MAX_BYTES:
        message = message[: len(message) * 3 // 4]
    return encoded


def write_termination_message(path: Path, reason: str, message: str) -> None:
    """Write the message where the kubelet reads it.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_bytes(termination_message(reason, message))
