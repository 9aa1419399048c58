"""Numbers as Kubernetes objects carry them: decimal strings without an exponent."""

import math
from decimal import Decimal
from typing import Final

_SIGNIFICANT_DIGITS: Final = 6
_MAX_DIGITS: Final = 15


def to_decimal(value: float) -> Decimal | None:
    """Round to six significant digits; None when the number is not finite or too large for the API's decimals."""
    if not math.isfinite(value):
        return None
    rounded = Decimal(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    if abs(rounded) < 1:
        return round(rounded, _MAX_DIGITS)
    return rounded if abs(rounded) < 10**_MAX_DIGITS else None


def plain(value: Decimal) -> str:
    """Return the number as `-?digits[.digits]`, without trailing zeros."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
