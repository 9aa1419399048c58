"""Where a version's record and report are, relative to the store of its namespace."""


def record_key(model: str, version: int) -> str:
    """Return the path of the ModelVersion's spec."""
    return f"models/{model}/v{version}/record.json"


def report_key(model: str, version: int) -> str:
    """Return the path of the page that explains its evaluation."""
    return f"models/{model}/v{version}/report.html"
