from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from modelyard.api.schema import SchemaError
from modelyard.api.schema.structural import structural_schema
from modelyard.api.v1alpha1.common import ApiModel, Quantity, Rule


class Size(StrEnum):
    SMALL = "Small"


class Inner(ApiModel):
    count: Annotated[int, Field(ge=0, le=9)] = 3


class Plain(ApiModel):
    text: str = Field(max_length=9)


@pytest.mark.parametrize(
    ("annotation", "default", "expected"),
    [
        pytest.param(Inner, ..., {"type": "object", "properties": {"count": {}}}, id="references are inlined"),
        pytest.param(
            Annotated[str, Field(max_length=9)] | None, None, {"type": "string", "maxLength": 9}, id="optional"
        ),
        pytest.param(Inner | None, None, {"type": "object", "properties": {"count": {}}}, id="optional reference"),
        pytest.param(Literal["v"], ..., {"type": "string", "enum": ["v"]}, id="const"),
        pytest.param(Literal["v", "w"], ..., {"type": "string", "enum": ["v", "w"]}, id="literals"),
        pytest.param(Size, Size.SMALL, {"type": "string", "enum": ["Small"], "default": "Small"}, id="enum"),
        pytest.param(
            Annotated[int, Field(gt=0, lt=9)],
            ...,
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True},
            id="exclusive bounds",
        ),
        pytest.param(
            Mapping[str, Annotated[str, Field(max_length=9)]],
            ...,
            {"type": "object", "additionalProperties": {"type": "string", "maxLength": 9}},
            id="map",
        ),
        pytest.param(
            Quantity, ..., {"x-kubernetes-int-or-string": True, "maxLength": 32, "pattern": ...}, id="quantity"
        ),
        pytest.param(tuple[int, ...], (), {"type": "array", "items": {"type": "integer"}}, id="empty list"),
        pytest.param(
            Mapping[str, int], {}, {"type": "object", "additionalProperties": {"type": "integer"}}, id="empty map"
        ),
        pytest.param(bool, False, {"type": "boolean", "default": False}, id="false is a default"),
        pytest.param(int, 0, {"type": "integer", "default": 0}, id="zero is a default"),
        pytest.param(
            Inner, Inner(), {"type": "object", "properties": {"count": {}}, "default": {}}, id="nested defaults"
        ),
        pytest.param(
            Plain | None, None, {"type": "object", "properties": {"text": {}}, "required": ["text"]}, id="none"
        ),
    ],
)
def test_field_becomes_structural(annotation: Any, default: Any, expected: dict[str, Any]) -> None:
    node = structural_schema(_model(annotation, default))["properties"]["field"]
    assert node.keys() == expected.keys()
    for key, value in expected.items():
        assert value is ... or node[key] == value or (key == "properties" and node[key].keys() == value.keys())


@pytest.mark.parametrize(
    ("annotation", "default", "problem"),
    [
        pytest.param(tuple[int, str], ..., r"Model\.field: .* prefixItems", id="tuple of fixed length"),
        pytest.param(int | Inner, ..., r"Model\.field: .* anyOf", id="union"),
        pytest.param(set[str], ..., r"Model\.field: .* uniqueItems", id="set"),
        pytest.param(Any, ..., r"Model\.field: must have a type", id="anything"),
        pytest.param(tuple[Any, ...], ..., r"Model\.field\[\]: must have a type", id="list of anything"),
        pytest.param(Mapping[str, Any], ..., r"Model\.field\{\}: must have a type", id="map of anything"),
        pytest.param(Inner, Inner(count=4), "must have a scalar default", id="default that is not the model's own"),
        pytest.param(tuple[int, ...], (1,), "must have a scalar default", id="default with items"),
    ],
)
def test_field_that_a_crd_cannot_express_is_refused(annotation: Any, default: Any, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        structural_schema(_model(annotation, default))


class Tree(ApiModel):
    children: tuple["Tree", ...] = ()


def test_model_that_contains_itself_is_refused() -> None:
    with pytest.raises(SchemaError, match="Tree must not contain itself"):
        structural_schema(Tree)


def test_rules_go_where_the_model_stands() -> None:
    class Ruled(ApiModel):
        name: str
        rules: ClassVar = (Rule(rule="self.name != 'x'", message="must not be 'x'", field_path=".name"),)

    node = structural_schema(_model(tuple[Ruled, ...], ()))["properties"]["field"]["items"]
    assert node["x-kubernetes-validations"] == [
        {"rule": "self.name != 'x'", "message": "must not be 'x'", "fieldPath": ".name"}
    ]


def test_description_of_the_field_wins_over_that_of_its_type() -> None:
    class Described(ApiModel):
        field: Inner
        """What the field is for."""

    assert structural_schema(Described)["properties"]["field"]["description"] == "What the field is for."


def _model(annotation: Any, default: Any) -> type[ApiModel]:
    return type(
        "Model",
        (ApiModel,),
        {"__annotations__": {"field": annotation}, "field": Field(default=default), "__module__": __name__},
    )
