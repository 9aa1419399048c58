from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.conversion.errors import ColumnError
from modelyard.conversion.tensors import as_texts, encode, from_tensor, to_tensor
from modelyard.model import Datatype, InputTensor, Kind, Signature, Task


def signature(datatype: Datatype, shape: tuple[int, ...] = (-1, 1), *, nullable: bool = False) -> Signature:
    kind = Kind.CATEGORICAL if datatype is Datatype.BYTES else Kind.NUMERIC
    tensor = InputTensor(name="x", datatype=datatype, shape=shape, kind=kind, nullable=nullable)
    output = {"name": "y", "datatype": "FP32", "shape": [-1]}
    return Signature.model_validate({"task": Task.OTHER, "inputs": [tensor], "outputs": [output]})


@pytest.mark.parametrize(
    ("datatype", "values", "wanted"),
    [
        (Datatype.FP32, [1, None, 2.5], [[1.0], [None], [2.5]]),
        (Datatype.FP32, [True, False], [[1.0], [0.0]]),
        (Datatype.FP32, [None, None], [[None], [None]]),
        (Datatype.INT64, [1, 2], [[1], [2]]),
        (Datatype.BYTES, ["a", None, ""], [["a"], [""], [""]]),
        (Datatype.BYTES, [7.0, None], [["7"], [""]]),
        (Datatype.BYTES, [True, False], [["1"], ["0"]]),
    ],
)
def test_columns_become_tensors(datatype: Datatype, values: list[Any], wanted: list[Any]) -> None:
    found = encode(signature(datatype, nullable=datatype is Datatype.FP32), pd.DataFrame({"x": values}))["x"]
    shown = [[None if isinstance(v, float) and np.isnan(v) else v for v in row] for row in found.tolist()]
    assert shown == wanted


def test_lists_and_arrays_become_matrices() -> None:
    declared = signature(Datatype.FP32, (-1, 2))
    for columns in (pd.DataFrame({"x": [[1, 2], [3, 4]]}), {"x": np.array([[1, 2], [3, 4]])}):
        assert encode(declared, columns)["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("declared", "values", "message"),
    [
        (signature(Datatype.FP32), ["a"], "column 'x' must hold values of datatype FP32"),
        (signature(Datatype.FP32), [1.0, None], "column 'x' has 1 missing values, must have none"),
        (signature(Datatype.INT64, nullable=True), [1.0, None], "column 'x' has 1 missing values, must have none"),
        (signature(Datatype.FP32, (-1, 2)), [[1], [2]], "column 'x' has rows of shape [1], must fit [2]"),
        (signature(Datatype.FP32, (-1, 2)), [[1, 2], [2]], "column 'x' must hold lists of numbers of one length"),
    ],
)
def test_column_that_does_not_fit_is_named(declared: Signature, values: list[Any], message: str) -> None:
    with pytest.raises(ColumnError) as caught:
        encode(declared, pd.DataFrame({"x": values}))
    assert message in str(caught.value)


def test_absent_column_is_named() -> None:
    with pytest.raises(ColumnError, match="column 'x' is missing"):
        encode(signature(Datatype.FP32), pd.DataFrame({"y": [1]}))


def test_fractions_stay_fractions_as_texts() -> None:
    assert as_texts(pd.Series([1.5, 2.0, None])).tolist() == ["1.5", "2.0", ""]


def test_tensor_is_read_back_as_written() -> None:
    values = np.array([[39.02, np.nan]], dtype=np.float32)
    tensor = to_tensor("x", Datatype.FP32, values)
    assert tensor.data == (39.02, None)
    np.testing.assert_array_equal(from_tensor(tensor), values)
