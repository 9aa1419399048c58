"""Kubernetes objects as plain dictionaries, and the few things that hold for all of them."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

Json = Any
Manifest = dict[str, Any]

OWNER_UID_LABEL = "modelyard.dev/owner-uid"


@dataclass(frozen=True)
class ResourceType:
    """Where a kind lives in the API; given by the caller, never discovered."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True)
class Ref:
    """One object of any kind; `namespace` is empty for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str | None = None
    """When set, only the object with this uid is meant: a deletion carries it as a precondition."""


@dataclass(frozen=True)
class TypeTable:
    """The kinds that a client can address, by apiVersion and kind."""

    types: dict[tuple[str, str], ResourceType]

    @classmethod
    def of(cls, *resources: ResourceType) -> Self:
        """A table of these resource types."""
        return cls({(resource.api_version, resource.kind): resource for resource in resources})

    def of_manifest(self, manifest: Manifest) -> ResourceType:
        """The resource type of a manifest.

        Raises:
            LookupError: its apiVersion and kind are not in the table.
        """
        return self.lookup(manifest["apiVersion"], manifest["kind"])

    def lookup(self, api_version: str, kind: str) -> ResourceType:
        """The resource type of an apiVersion and kind.

        Raises:
            LookupError: they are not in the table.
        """
        try:
            return self.types[(api_version, kind)]
        except KeyError:
            known = ", ".join(sorted(f"{api}/{name}" for api, name in self.types))
            raise LookupError(f"{api_version}/{kind} is not a known resource type; known: {known}") from None


def name_of(manifest: Manifest) -> str:
    """`metadata.name`."""
    return str(manifest["metadata"]["name"])


def namespace_of(manifest: Manifest) -> str:
    """`metadata.namespace`, empty for cluster-scoped objects."""
    return str(manifest["metadata"].get("namespace", ""))


def uid_of(manifest: Manifest) -> str:
    """`metadata.uid`, empty for an object that was never stored."""
    return str(manifest["metadata"].get("uid", ""))


def ref_of(manifest: Manifest) -> Ref:
    """A reference to this object, bound to its uid when it has one."""
    return Ref(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        namespace=namespace_of(manifest),
        name=name_of(manifest),
        uid=uid_of(manifest) or None,
    )


def owner_reference(owner: Manifest) -> dict[str, Any]:
    """A controller reference to `owner`, for the children of its own namespace (see `adopt`).

    Raises:
        ValueError: `owner` has no uid, so it was never stored.
    """
    if not uid_of(owner):
        raise ValueError(f"{owner['kind']} {name_of(owner)}: an owner must have metadata.uid")
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def adopt(child: Manifest, owner: Manifest) -> Manifest:
    """A copy of `child` that `owner` controls: owner reference and owner-uid label.

    Raises:
        ValueError: the two are in different namespaces; the garbage collector would delete the child.
    """
    check_ownership(child, owner)
    metadata = child["metadata"]
    labels = {**metadata.get("labels", {}), OWNER_UID_LABEL: uid_of(owner)}
    return {**child, "metadata": {**metadata, "labels": labels, "ownerReferences": [owner_reference(owner)]}}


def check_ownership(child: Manifest, owner: Manifest) -> None:
    """Refuses an owner of another namespace.

    Raises:
        ValueError: `owner` is namespaced and `child` is not in its namespace.
    """
    if namespace_of(owner) and namespace_of(owner) != namespace_of(child):
        raise ValueError(
            f"{child['kind']} {name_of(child)}: an owner must be in the same namespace, "
            f"'{namespace_of(owner)}' is not '{namespace_of(child)}'"
        )


def controller_uid(manifest: Manifest) -> str:
    """The uid of the controlling owner, empty when there is none."""
    for reference in manifest["metadata"].get("ownerReferences", ()):
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def owner_uid_of(manifest: Manifest) -> str:
    """The uid of the controlling owner or, without one, that of the owner-uid label; empty without both."""
    return controller_uid(manifest) or str(manifest["metadata"].get("labels", {}).get(OWNER_UID_LABEL, ""))


def is_deleting(manifest: Manifest) -> bool:
    """Whether the object is on its way out."""
    return "deletionTimestamp" in manifest["metadata"]


def without_nulls(value: Json) -> Json:
    """A copy without null members, which server-side apply must never be sent."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return value


def digest_of(manifest: Manifest) -> str:
    """A short digest of the canonical JSON of a manifest."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:16]
