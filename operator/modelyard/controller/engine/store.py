"""The last known objects of one kind, with indices; changed by watches, by full lists and by our own writes."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from modelyard.controller.engine.manifests import Manifest, Ref, ResourceType, name_of, namespace_of, uid_of

Listener = Callable[[Manifest | None, Manifest | None], None]
IndexFunction = Callable[[Manifest], Iterable[str]]
Transform = Callable[[Manifest], Manifest]

REMEMBERED_REMOVALS = 4096
"""Removed objects whose late news are ignored."""

_Name = tuple[str, str]


def prune(manifest: Manifest) -> Manifest:
    """Drops what is large and never read: `metadata.managedFields` and kubectl's last applied configuration."""
    metadata = manifest["metadata"]
    metadata.pop("managedFields", None)
    metadata.get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return manifest


class Store:
    """A cache of one kind. Stored objects are shared: nobody may change them.

    Older versions never replace newer ones, so what our own writes returned can be put in at once, and
    the watch that tells of them later changes nothing. Removals count as versions too: the answer of a write
    that a deletion has overtaken, or a list from before it, raises no ghost.

    Args:
        resource: the kind.
        indices: for each index the values under which an object is found.
        transform: what is done to an object before it is stored; may change it in place.
    """

    def __init__(
        self,
        resource: ResourceType,
        *,
        indices: Mapping[str, IndexFunction] | None = None,
        transform: Transform = prune,
    ) -> None:
        self.resource = resource
        self._objects: dict[_Name, Manifest] = {}
        self._removed: OrderedDict[str, int] = OrderedDict()
        self._functions = dict(indices or {})
        self._indices: dict[str, dict[str, dict[_Name, Manifest]]] = {name: {} for name in self._functions}
        self.transform = transform
        self._listeners: list[Listener] = []

    @property
    def size(self) -> int:
        """How many objects there are."""
        return len(self._objects)

    def subscribe(self, listener: Listener) -> None:
        """Calls `listener(old, new)` after each change; `old` is None for additions, `new` for deletions."""
        self._listeners.append(listener)

    def get(self, namespace: str, name: str) -> Manifest | None:
        """The object of this name, or None."""
        return self._objects.get((namespace, name))

    def all(self, namespace: str | None = None) -> list[Manifest]:
        """All objects, or those of one namespace."""
        return [item for key, item in self._objects.items() if namespace is None or key[0] == namespace]

    def by_index(self, index: str, value: str) -> list[Manifest]:
        """The objects for which the index's function returned `value`."""
        return list(self._indices[index].get(value, {}).values())

    def put(self, manifest: Manifest) -> bool:
        """Stores an object unless it is known in this or a newer version; whether anything changed."""
        key = (namespace_of(manifest), name_of(manifest))
        old = self._objects.get(key)
        known = max(version_of(old) if old else -1, self._removed.get(uid_of(manifest), -1))
        if version_of(manifest) <= known:
            return False
        self._replace(key, old, self.transform(manifest))
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Forgets an object, but not another one of the same name; whether anything changed."""
        self._removed[uid_of(manifest)] = version_of(manifest)
        if len(self._removed) > REMEMBERED_REMOVALS:
            self._removed.popitem(last=False)
        key = (namespace_of(manifest), name_of(manifest))
        old = self._objects.get(key)
        if old is None or uid_of(old) != uid_of(manifest):
            return False
        self._replace(key, old, None)
        return True

    def replace(self, manifests: Iterable[Manifest], version: int, namespace: str | None = None) -> int:
        """Takes over a full list, and forgets what it does not have.

        Args:
            manifests: all objects there are, in `namespace` if given.
            version: the list's resource version; what is newer here is kept.
            namespace: the namespace that was listed, all when None.

        Returns:
            How many objects were added, changed or removed.
        """
        changes = 0
        listed = set()
        for manifest in manifests:
            listed.add((namespace_of(manifest), name_of(manifest)))
            changes += self.put(manifest)
        for manifest in self.all(namespace):
            known = (namespace_of(manifest), name_of(manifest))
            if known not in listed and version_of(manifest) <= version:
                changes += self.remove(manifest)
        return changes

    def _replace(self, key: _Name, old: Manifest | None, new: Manifest | None) -> None:
        for index, function in self._functions.items():
            entries = self._indices[index]
            for value in set(function(old)) if old else ():
                entries[value].pop(key)
                if not entries[value]:
                    del entries[value]
            for value in set(function(new)) if new else ():
                entries.setdefault(value, {})[key] = new  # type: ignore[assignment]  # not None when it has values
        if new is None:
            del self._objects[key]
        else:
            self._objects[key] = new
        for listener in self._listeners:
            listener(old, new)


class Stores:
    """The stores of all cached kinds; what they do not know is not found, and what they cannot hold is dropped."""

    def __init__(self, stores: Iterable[Store] = ()) -> None:
        self._stores: dict[tuple[str, str], Store] = {}
        for store in stores:
            self.add(store)

    def add(self, store: Store) -> None:
        """Adds the store of a kind."""
        self._stores[(store.resource.api_version, store.resource.kind)] = store

    def find(self, manifest: Manifest) -> Manifest | None:
        """The cached object of the kind and name of `manifest`."""
        store = self._of(manifest)
        return store.get(namespace_of(manifest), name_of(manifest)) if store else None

    def get(self, ref: Ref) -> Manifest | None:
        """The cached object that `ref` names, if it is the one with its uid."""
        store = self._stores.get((ref.api_version, ref.kind))
        found = store.get(ref.namespace, ref.name) if store else None
        return None if found and ref.uid and uid_of(found) != ref.uid else found

    def put(self, manifest: Manifest) -> None:
        """Stores what a write returned."""
        if store := self._of(manifest):
            store.put(manifest)

    def remove(self, manifest: Manifest) -> None:
        """Forgets what was deleted."""
        if store := self._of(manifest):
            store.remove(manifest)

    def _of(self, manifest: Manifest) -> Store | None:
        return self._stores.get((manifest["apiVersion"], manifest["kind"]))


def version_of(manifest: Manifest) -> int:
    """`metadata.resourceVersion`, which is an ordered number (KEP-5504)."""
    return int(manifest["metadata"]["resourceVersion"])
