"""Whether a live object still has everything that was asked for. Pure."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from modelyard.controller.engine.manifests import Json

_LIST_KEYS = (
    ("name",),
    ("containerPort", "protocol"),
    ("port", "protocol"),
    ("mountPath",),
    ("uid",),
    ("type",),
    ("key",),
    ("topologyKey", "whenUnsatisfiable"),
)
"""Members that identify an item of a list, as in the API's own list-map keys."""

_KEY_DEFAULTS = {"protocol": "TCP"}

_QUANTITY_FIELDS = frozenset({"limits", "requests", "sizeLimit", "storage", "hard", "divisor"})

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}

_QUANTITY = re.compile(
    r"(?P<number>[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)(?P<suffix>[numkMGTPE]?|[KMGTPE]i)"
)


def contains(live: Json, desired: Json, *, quantity: bool = False) -> bool:
    """Whether `live` has all of `desired`, apart from how the API server writes it down.

    What it has on top (defaults, other managers' fields and list items) does not matter. An empty
    value may be missing, a quantity may be written in another unit.

    Args:
        live: the object, or a part of it, as the API server returned it.
        desired: the same part as it was applied.
        quantity: whether the part is one or more quantities.
    """
    if isinstance(desired, Mapping):
        return _contains_mapping(live, desired, quantity)
    if isinstance(desired, list | tuple):
        return _contains_sequence(live, desired)
    if quantity and live is not None:
        return _same_quantity(live, desired)
    return bool(live == desired) and isinstance(live, bool) == isinstance(desired, bool)


def _contains_mapping(live: Json, desired: Mapping[str, Json], quantity: bool) -> bool:
    if not isinstance(live, Mapping):
        return live is None and not desired
    return all(
        contains(live[key], value, quantity=quantity or key in _QUANTITY_FIELDS) if key in live else _is_empty(value)
        for key, value in desired.items()
    )


def _contains_sequence(live: Json, desired: Sequence[Json]) -> bool:
    if not isinstance(live, list):
        return live is None and not desired
    keys = _list_key(desired)
    if keys is None:
        return len(live) == len(desired) and all(map(contains, live, desired))
    by_key = {_identity(item, keys): item for item in live if isinstance(item, Mapping)}
    return all(contains(by_key.get(_identity(item, keys)), item) for item in desired)


def _list_key(items: Sequence[Json]) -> tuple[str, ...] | None:
    for keys in _LIST_KEYS:
        if items and all(isinstance(item, Mapping) and keys[0] in item for item in items):
            identities = {_identity(item, keys) for item in items}
            return keys if len(identities) == len(items) else None
    return None


def _identity(item: Mapping[str, Json], keys: tuple[str, ...]) -> tuple[Json, ...]:
    return tuple(item.get(key, _KEY_DEFAULTS.get(key)) for key in keys)


def _is_empty(value: Json) -> bool:
    return value is None or value is False or value in ("", 0, [], {}, ())


def _same_quantity(live: Json, desired: Json) -> bool:
    return str(live) == str(desired) or (
        (amount := parse_quantity(str(live))) is not None and amount == parse_quantity(str(desired))
    )


def parse_quantity(text: str) -> Decimal | None:
    """The number that a Kubernetes quantity such as `1500m`, `2Gi` or `1e3` stands for; None if it is none."""
    match = _QUANTITY.fullmatch(text)
    return Decimal(match["number"]) * _SUFFIXES[match["suffix"]] if match else None
