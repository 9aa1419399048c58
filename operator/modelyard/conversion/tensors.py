"""Columns of a table as the tensors that a model takes."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modelyard.conversion.errors import ColumnError
from modelyard.model import Datatype, InputTensor, Signature, Tensor

Columns: TypeAlias = pd.DataFrame | Mapping[str, NDArray[Any]]
"""Values by input name: a column each, or an array whose first dimension counts rows."""
Tensors: TypeAlias = dict[str, NDArray[Any]]

_NUMPY_TYPES: Final[Mapping[Datatype, Any]] = {
    Datatype.BOOL: np.bool_,
    Datatype.UINT8: np.uint8,
    Datatype.UINT16: np.uint16,
    Datatype.UINT32: np.uint32,
    Datatype.UINT64: np.uint64,
    Datatype.INT8: np.int8,
    Datatype.INT16: np.int16,
    Datatype.INT32: np.int32,
    Datatype.INT64: np.int64,
    Datatype.FP16: np.float16,
    Datatype.FP32: np.float32,
    Datatype.FP64: np.float64,
    Datatype.BYTES: np.object_,
}


def encode(signature: Signature, columns: Columns) -> Tensors:
    """Return the model's inputs as arrays of the declared datatypes and shapes.

    A missing text is the empty text. A missing number is NaN, where the datatype has it.

    Raises:
        ColumnError: a column is absent, or holds something that the input does not take.
    """
    return {tensor.name: _encode(tensor, columns) for tensor in signature.inputs}


def rows_of(columns: Columns) -> int:
    """Return the number of rows."""
    if isinstance(columns, pd.DataFrame):
        return len(columns)
    return len(next(iter(columns.values()), ()))


def take(columns: Columns, rows: Any) -> Columns:
    """Return the rows at these positions."""
    if isinstance(columns, pd.DataFrame):
        frame: pd.DataFrame = columns.iloc[rows]
        return frame
    return {name: values[rows] for name, values in columns.items()}


def as_texts(values: pd.Series) -> NDArray[np.object_]:
    """Return values as texts: missing ones empty, whole numbers without a decimal point, true and false as 1 and 0."""
    missing = values.isna().to_numpy()
    if pd.api.types.is_bool_dtype(values.dtype):
        values = values.astype(np.int64)
    elif pd.api.types.is_float_dtype(values.dtype):
        present = values[~missing]
        if (present == present.round()).all():
            values = values.fillna(0).astype(np.int64)
    texts = values.astype(str).to_numpy(dtype=object)
    texts[missing] = ""
    return texts


def to_tensor(name: str, datatype: Datatype, values: NDArray[Any]) -> Tensor:
    """Return an array as a tensor of the Open Inference Protocol, numbers as short as their precision allows."""
    flat = values.reshape(-1)
    if datatype is Datatype.BYTES:
        data: list[Any] = [str(value) for value in flat]
    elif datatype.is_float:
        data = [None if np.isnan(value) else float(str(value)) for value in flat]
    else:
        data = flat.tolist()
    return Tensor(name=name, shape=values.shape, datatype=datatype, data=tuple(data))


def from_tensor(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor of the Open Inference Protocol as an array."""
    values = [np.nan if value is None else value for value in tensor.data]
    return np.array(values, dtype=_NUMPY_TYPES[tensor.datatype]).reshape(tensor.shape)


def _encode(tensor: InputTensor, columns: Columns) -> NDArray[Any]:
    if tensor.name not in columns:
        raise ColumnError(f"column '{tensor.name}' is missing")
    values = columns[tensor.name]
    if isinstance(values, np.ndarray) and values.ndim > 1:
        encoded = _cast(tensor, values)
    else:
        series = pd.Series(values)
        encoded = as_texts(series) if tensor.datatype is Datatype.BYTES else _numbers(tensor, series)
    return _reshaped(tensor, encoded)


def _numbers(tensor: InputTensor, values: pd.Series) -> NDArray[Any]:
    if len(values) and isinstance(values.iloc[0], list | np.ndarray):
        try:
            return _cast(tensor, np.stack(list(values)))
        except ValueError:
            raise ColumnError(f"column '{tensor.name}' must hold lists of numbers of one length") from None
    if values.isna().any() and not (tensor.nullable and tensor.datatype.is_float):
        raise ColumnError(f"column '{tensor.name}' has {int(values.isna().sum())} missing values, must have none")
    try:
        numbers = pd.to_numeric(values)
    except (TypeError, ValueError):
        raise ColumnError(f"column '{tensor.name}' must hold values of datatype {tensor.datatype}") from None
    if not tensor.datatype.is_float:
        return _cast(tensor, numbers)
    return _cast(tensor, numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def _cast(tensor: InputTensor, values: Any) -> NDArray[Any]:
    try:
        return np.asarray(values).astype(_NUMPY_TYPES[tensor.datatype])
    except (TypeError, ValueError, OverflowError):
        raise ColumnError(f"column '{tensor.name}' must hold values of datatype {tensor.datatype}") from None


def _reshaped(tensor: InputTensor, values: NDArray[Any]) -> NDArray[Any]:
    try:
        return values.reshape(len(values), *tensor.shape[1:])
    except ValueError:
        raise ColumnError(
            f"column '{tensor.name}' has rows of shape {list(values.shape[1:])}, must fit {list(tensor.shape[1:])}"
        ) from None
