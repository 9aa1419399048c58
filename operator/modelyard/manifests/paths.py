"""Where something stands in a document. Pure."""

Path = tuple[str | int, ...]
"""Names of fields, and positions in lists."""


def shown(path: Path) -> str:
    """Return a path as the API server writes it: `spec.steps[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def extended(path: Path, field_path: str) -> Path:
    """Return a path with the `fieldPath` of a CEL rule, `.name` or `.a.b`, behind it."""
    return (*path, *(part for part in field_path.split(".") if part))
