"""Objects as JSON has them, and JSON of which the same value has the same bytes, and so the same digest. Pure."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel


def as_json(model: BaseModel) -> dict[str, Any]:
    """Return an object, or a part of one, as JSON has it; what is not set is left out."""
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")


def compact_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_digest(value: Any) -> str:
    """Return the sha256 of the compact JSON."""
    return f"sha256:{hashlib.sha256(compact_json(value).encode()).hexdigest()}"
