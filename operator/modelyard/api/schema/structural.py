"""From a pydantic model to a structural schema, the subset of OpenAPI that a CRD may use."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from modelyard.api.v1alpha1.common import ApiModel, Rule

Schema = dict[str, Any]

VALIDATIONS = "x-kubernetes-validations"
INT_OR_STRING = "x-kubernetes-int-or-string"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_ALLOWED = frozenset(
    {"type", "format", "description", "default", "enum"}
    | {"pattern", "minLength", "maxLength"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
    | {"properties", "required", "additionalProperties", "minProperties", "maxProperties", "x-kubernetes-map-type"}
    | {VALIDATIONS, INT_OR_STRING, _PRESERVE}
)


class SchemaError(TypeError):
    """A model says something that a CRD cannot; the message names the field."""


def structural_schema(model: type[ApiModel]) -> Schema:
    """Return the structural schema of a model, with its CEL rules.

    Raises:
        SchemaError: the model refers to itself, or uses a type that a CRD cannot express.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = schema.pop("$defs", {})
    return _structural(_inline(schema, definitions, ()), model.__name__)


def validation(rule: Rule) -> Schema:
    """Return a rule as an entry of `x-kubernetes-validations`."""
    entry: Schema = {"rule": rule.rule, "message": rule.message}
    return entry if rule.field_path is None else {**entry, "fieldPath": rule.field_path}


class _Generator(GenerateJsonSchema):
    """pydantic's generator with what Kubernetes means by absent: an optional field is left out, never null."""

    @override
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        node = super().model_schema(schema)
        if rules := cast(type[ApiModel], schema["cls"]).rules:
            node[VALIDATIONS] = [validation(rule) for rule in rules]
        return node

    @override
    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        node = super().literal_schema(schema)
        return {**{k: v for k, v in node.items() if k != "const"}, "enum": [node["const"]]} if "const" in node else node

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        node = self.generate_inner(schema["schema"])
        match schema.get("default"):
            case None | () | []:
                return node
            case BaseModel() as default if default == type(default)():
                return {**node, "default": {}}
            case Enum() as default:
                return {**node, "default": default.value}
            case bool() | int() | str() as default:
                return {**node, "default": default}
            case Mapping() as default if not default:
                return node
            case default:
                raise SchemaError(f"must have a scalar default, or an empty one, not {default!r}")


def _inline(node: Any, definitions: Mapping[str, Schema], within: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions, within) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" not in node:
        return {key: _inline(value, definitions, within) for key, value in node.items()}
    name = node["$ref"].rsplit("/", 1)[-1]
    if name in within:
        raise SchemaError(f"{name} must not contain itself")
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return {**_inline(definitions[name], definitions, (*within, name)), **beside}


def _structural(node: Schema, path: str) -> Schema:
    """Rewrite what JSON Schema and Kubernetes write differently, and refuse the rest."""
    result = _rewritten(node)
    if unknown := sorted(result.keys() - _ALLOWED):
        raise SchemaError(f"{path}: a CRD cannot express {', '.join(unknown)}")
    if not result.keys() & {"type", INT_OR_STRING, _PRESERVE}:
        raise SchemaError(f"{path}: must have a type")
    if "properties" in result:
        result["properties"] = {n: _structural(s, f"{path}.{n}") for n, s in result["properties"].items()}
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if key in result:
            result[key] = _structural(result[key], path + suffix)
    if result.get("default") == {} and not _has_defaults(result):
        del result["default"]
    return result


def _rewritten(node: Schema) -> Schema:
    result = {key: value for key, value in node.items() if key != "title"}
    if result.get(INT_OR_STRING):
        result = {key: value for key, value in result.items() if key not in ("anyOf", "type")}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in result:
            result |= {bound: result[exclusive], exclusive: True}
    if result.get("additionalProperties") is True:
        result["additionalProperties"] = {}
    elif result.get("additionalProperties") is False:
        del result["additionalProperties"]
    return result


def _has_defaults(node: Schema) -> bool:
    return any("default" in child for child in node.get("properties", {}).values())
