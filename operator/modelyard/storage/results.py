"""The result of a step as the operator reads it: in the termination message or, when that is gone, in the store."""

import json
from collections.abc import Mapping
from typing import Any, Final

MESSAGE_BYTES: Final = 4096
MAX_METRICS: Final = 16
MAX_RESULT_BYTES: Final = 1024 * 1024


def result_key(run_uid: str, step: str, attempt: int) -> str:
    """Return the path of a step's result in the store."""
    return f"runs/{run_uid}/{step}/{attempt}/result.json"


def progress_key(run_uid: str, step: str, attempt: int) -> str:
    """Return the path of what a step that runs says of its progress."""
    return f"runs/{run_uid}/{step}/{attempt}/progress.json"


def to_json(document: Mapping[str, Any]) -> bytes:
    """Return compact JSON (UTF-8)."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def to_message(result: Mapping[str, Any]) -> str:
    """Return a result as JSON that fits a termination message; metrics beyond MAX_METRICS or the limit are left out.

    Raises:
        ValueError: it does not fit, even without metrics.
    """
    kept = dict(result)
    metrics = list(kept.get("metrics", ()))[:MAX_METRICS]
    while True:
        if "metrics" in kept:
            kept["metrics"] = metrics
        message = to_json(kept)
        if len(message) <= MESSAGE_BYTES:
            return message.decode()
        if not metrics:
            raise ValueError(f"a result must have at most {MESSAGE_BYTES} bytes, has {len(message)}")
        metrics = metrics[:-1]
