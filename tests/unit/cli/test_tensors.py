from typing import Any

import pytest

from modelyard.cli.rows import Batch
from modelyard.cli.tensors import TensorInfo, TensorsError, column_names, to_inputs, to_rows

FLIGHTS = [
    TensorInfo("distance", "FP32", (-1, 1)),
    TensorInfo("hour", "INT64", (-1,)),
    TensorInfo("late", "BOOL", (-1, 1)),
    TensorInfo("carrier", "BYTES", (-1, 1)),
]


def batch(**columns: list[object]) -> Batch:
    return Batch(11, columns)


def test_columns_are_found_by_name_and_read_as_the_input_says() -> None:
    rows = batch(id=[8, 9], late=["True", "false"], carrier=["AA", ""], hour=["7", " 8"], distance=["1.5", ""])
    assert to_inputs(FLIGHTS, rows) == [
        {"name": "distance", "datatype": "FP32", "shape": [2, 1], "data": [1.5, None]},
        {"name": "hour", "datatype": "INT64", "shape": [2], "data": [7, 8]},
        {"name": "late", "datatype": "BOOL", "shape": [2, 1], "data": [True, False]},
        {"name": "carrier", "datatype": "BYTES", "shape": [2, 1], "data": ["AA", ""]},
    ]


def test_values_that_have_a_type_already_stay_as_they_are() -> None:
    rows = batch(late=[True], carrier=["AA"], hour=[7], distance=[float("nan")])
    assert [tensor["data"] for tensor in to_inputs(FLIGHTS, rows)] == [[None], [7], [True], ["AA"]]


@pytest.mark.parametrize("width", [2, -1])
def test_the_only_input_of_several_values_takes_all_columns_in_order(width: int) -> None:
    (tensor,) = to_inputs([TensorInfo("x", "FP32", (-1, width))], batch(b=["1", "2"], a=["3", "4"]))
    assert tensor == {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 3.0, 2.0, 4.0]}


def test_rows_may_be_none() -> None:
    (tensor,) = to_inputs([TensorInfo("x", "FP32", (-1, 2))], batch(b=[], a=[]))
    assert (tensor["shape"], tensor["data"]) == ([0, 2], [])


WRONG_VALUES: list[tuple[str, object, str]] = [
    ("FP32", "far", "a number, got 'far'"),
    ("FP32", "inf", "a number"),
    ("FP32", True, "a number"),
    ("FP32", [1], "a number"),
    ("INT64", "1.5", "a whole number, got '1.5'"),
    ("INT64", 1.0, "a whole number"),
    ("INT64", "", "a whole number"),
    ("INT64", None, "a whole number"),
    ("UINT8", False, "a whole number"),
    ("BOOL", "yes", "true or false"),
    ("BOOL", 1, "true or false"),
    ("BYTES", 5, "a text, got 5"),
    ("BYTES", None, "a text"),
]


@pytest.mark.parametrize(("datatype", "value", "message"), WRONG_VALUES)
def test_wrong_value_is_named_with_its_row_and_column(datatype: str, value: object, message: str) -> None:
    good: Any = {"BYTES": "a", "BOOL": True}.get(datatype, 1)
    with pytest.raises(TensorsError) as error:
        to_inputs([TensorInfo("x", datatype, (-1, 1))], batch(x=[good, value]))
    assert str(error.value).startswith(f"row 12, column 'x': must be {message}")


WRONG_SHAPES: dict[str, tuple[list[TensorInfo], str]] = {
    "missing": (FLIGHTS, "columns are missing: 'distance', 'hour', 'late', 'carrier'; the file has 'a', 'b'"),
    "width": ([TensorInfo("x", "FP32", (-1, 3))], "'x' takes 3 columns, the file has 2"),
    "rank": ([TensorInfo("x", "FP32", (-1, 3, 3))], r"shape \[-1, 3, 3\]: its rows are no columns"),
    "rank of any size": ([TensorInfo("x", "FP32", (-1, -1, -1))], "its rows are no columns"),
    "no rows": ([TensorInfo("x", "FP32", (2, -1, 1))], "its rows are no columns"),
    "wide beside others": ([TensorInfo("x", "FP32", (-1, 2)), FLIGHTS[0]], "'x' takes \\[2\\] values a row"),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_file_that_does_not_fit_is_refused(case: str) -> None:
    tensors, message = WRONG_SHAPES[case]
    with pytest.raises(TensorsError, match=message):
        to_inputs(tensors, batch(a=["1"], b=["2"]))


def test_answers_become_rows_under_the_names_of_the_outputs() -> None:
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": [2], "data": [1, 0]},
        {"name": "p", "datatype": "FP32", "shape": [2, 2], "data": [0.1, 0.9, 0.8, None]},
    ]
    assert column_names([TensorInfo.parse(output) for output in outputs]) == ["label", "p_0", "p_1"]
    assert list(to_rows(outputs, 2)) == [[1, 0.1, 0.9], [0, 0.8, None]]


@pytest.mark.parametrize("shape", [[], [1], [3]])
def test_answer_with_another_number_of_rows_is_refused(shape: list[int]) -> None:
    with pytest.raises(TensorsError, match="'y' must have 2 rows"):
        list(to_rows([{"name": "y", "datatype": "FP32", "shape": shape, "data": [1]}], 2))
