"""From a kind to its CustomResourceDefinition."""

from collections.abc import Iterator
from typing import Any, cast

from modelyard.api.schema.structural import VALIDATIONS, Schema, structural_schema, validation
from modelyard.api.v1alpha1.common import LAST_COLUMNS, READY_COLUMNS, ApiModel, CustomResource, PrinterColumn
from modelyard.api.v1alpha1.names import GROUP, LABEL_PART_OF, MANAGED_BY, VERSION


def custom_resource_definition(kind: type[CustomResource]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind.

    Raises:
        SchemaError: a model of the kind says something that a CRD cannot.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}", "labels": {LABEL_PART_OF: MANAGED_BY}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                **({"categories": list(kind.categories)} if kind.categories else {}),
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                    "additionalPrinterColumns": [_column(column) for column in columns(kind)],
                    **_subresources(kind),
                }
            ],
        },
    }


def columns(kind: type[CustomResource]) -> Iterator[PrinterColumn]:
    """Yield the columns of `kubectl get`; only a kind with a status has Ready, Reason and Message."""
    if has_status(kind):
        yield from (*READY_COLUMNS, *kind.columns, *LAST_COLUMNS)
    else:
        yield from (*kind.columns, *(column for column in LAST_COLUMNS if ".status." not in column.json_path))


def has_status(kind: type[CustomResource]) -> bool:
    """Say whether the operator reports on the kind."""
    return "status" in kind.model_fields


def object_schema(kind: type[CustomResource]) -> Schema:
    """Return the structural schema of a whole object."""
    spec = model_of(kind, "spec")
    properties = {
        "apiVersion": {"type": "string", "description": "Version of the schema that the object is written in."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": {"type": "object"},
        "spec": {**_immutable(structural_schema(spec), spec), "description": kind.model_fields["spec"].description},
    }
    if has_status(kind):
        # The operator compares the status that it wants with the one that it reads: a default would look like a change.
        status = _without_defaults(structural_schema(model_of(kind, "status")))
        properties["status"] = {**status, "description": kind.model_fields["status"].description}
    rules = [validation(rule) for rule in kind.rules]
    return {
        "type": "object",
        "description": kind.__doc__,
        "properties": properties,
        "required": ["spec"],
        **({VALIDATIONS: rules} if rules else {}),
    }


def model_of(kind: type[CustomResource], field: str) -> type[ApiModel]:
    """Return the model of an object's `spec` or `status`."""
    return cast(type[ApiModel], kind.model_fields[field].annotation)


def _immutable(schema: Schema, spec: type[ApiModel]) -> Schema:
    """Add the rules that forbid to change, add or remove each field that is not mutable."""
    if spec.mutable is None:
        return schema
    fixed = {name: node for name, node in schema["properties"].items() if name not in spec.mutable}
    unchanged = {name: _add_rules(node, _unchanged(name, node)) for name, node in fixed.items()}
    removable = [name for name, node in fixed.items() if name not in schema["required"] and "default" not in node]
    presence = [
        {
            "rule": f"has(self.{name}) == has(oldSelf.{name})",
            "message": f"must not add or remove `{name}` after creation",
            "fieldPath": f".{name}",
        }
        for name in removable
    ]
    return _add_rules({**schema, "properties": {**schema["properties"], **unchanged}}, *presence)


def _unchanged(name: str, node: Schema) -> Schema:
    rule = "self == oldSelf"
    if node.get("x-kubernetes-list-type") == "map":  # CEL compares such lists without their order
        key = node["x-kubernetes-list-map-keys"][0]
        rule += f" && self.map(item, item.{key}) == oldSelf.map(item, item.{key})"
    return {"rule": rule, "message": f"must not change `{name}` after creation"}


def _add_rules(node: Schema, *rules: Schema) -> Schema:
    return {**node, VALIDATIONS: [*node.get(VALIDATIONS, []), *rules]} if rules else node


def _without_defaults(node: Schema) -> Schema:
    result = {key: value for key, value in node.items() if key != "default"}
    if "properties" in node:
        result["properties"] = {name: _without_defaults(child) for name, child in node["properties"].items()}
    if "items" in node:
        result["items"] = _without_defaults(node["items"])
    return result


def _column(column: PrinterColumn) -> dict[str, Any]:
    entry = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "description": column.description,
    }
    return {**entry, "priority": column.priority} if column.priority else entry


def _subresources(kind: type[CustomResource]) -> dict[str, Any]:
    subresources: dict[str, Any] = {"status": {}} if has_status(kind) else {}
    if kind.scale is not None:
        subresources["scale"] = {
            "specReplicasPath": kind.scale.spec_replicas_path,
            "statusReplicasPath": kind.scale.status_replicas_path,
            "labelSelectorPath": kind.scale.label_selector_path,
        }
    return {"subresources": subresources} if subresources else {}
