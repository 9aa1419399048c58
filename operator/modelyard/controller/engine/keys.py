from typing import NamedTuple


class Key(NamedTuple):
    """Names one object that is reconciled; `namespace` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str
