"""Columns of a file to the tensors of a request, and the tensors of an answer to columns. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from modelyard.cli.rows import Batch

_MATRIX_RANK = 2


class TensorsError(Exception):
    """The file does not fit the model, or the model cannot be asked this way."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output as the model's metadata names it; -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> "TensorInfo":
        """Read an entry of the metadata."""
        return cls(entry["name"], entry["datatype"], tuple(entry["shape"]))

    @property
    def width(self) -> int:
        """Values that belong to one row; -1 when that is not fixed."""
        return -1 if -1 in self.shape[1:] else math.prod(self.shape[1:])


def to_inputs(tensors: Sequence[TensorInfo], batch: Batch) -> list[dict[str, Any]]:
    """Return the inputs of a request with the batch's rows.

    Inputs of one value a row are columns of that name; other columns of the file are left out. The only input of a
    model, if it takes several values a row, is all columns in their order.

    Raises:
        TensorsError: A column is missing, or a value is not of the input's type.
    """
    if len(tensors) == 1 and tensors[0].width != 1:
        return [_matrix(tensors[0], batch)]
    wide = next((tensor for tensor in tensors if tensor.width != 1), None)
    if wide is not None:
        raise TensorsError(
            f"the input '{wide.name}' takes {list(wide.shape[1:])} values a row beside other inputs: "
            "such a model cannot be asked with columns"
        )
    missing = [tensor.name for tensor in tensors if tensor.name not in batch.columns]
    if missing:
        raise TensorsError(f"columns are missing: {_names(missing)}; the file has {_names(batch.columns)}")
    return [_entry(tensor, _values(tensor, batch, tensor.name)) for tensor in tensors]


def _matrix(tensor: TensorInfo, batch: Batch) -> dict[str, Any]:
    count = len(batch.columns)
    if len(tensor.shape) != _MATRIX_RANK:
        raise TensorsError(f"the input '{tensor.name}' has the shape {list(tensor.shape)}: its rows are no columns")
    if tensor.shape[1] not in (-1, count):
        raise TensorsError(f"the input '{tensor.name}' takes {tensor.shape[1]} columns, the file has {count}")
    columns = [_values(tensor, batch, name) for name in batch.columns]
    rows = list(chain.from_iterable(zip(*columns, strict=True)))
    return {**_entry(tensor, rows), "shape": [len(columns[0]), count]}


def _entry(tensor: TensorInfo, values: Sequence[object]) -> dict[str, Any]:
    shape = [len(values), *tensor.shape[1:]]
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": values}


def _values(tensor: TensorInfo, batch: Batch, column: str) -> list[object]:
    convert, described = _converter(tensor.datatype)
    values: list[object] = []
    for row, value in enumerate(batch.columns[column], batch.first_row):
        try:
            values.append(convert(value))
        except (TypeError, ValueError):
            raise TensorsError(f"row {row}, column '{column}': must be {described}, got {value!r}") from None
    return values


def _converter(datatype: str) -> tuple[Callable[[object], object], str]:
    if datatype == "BYTES":
        return _to_text, "a text"
    if datatype == "BOOL":
        return _to_flag, "true or false"
    return (_to_whole_number, "a whole number") if "INT" in datatype else (_to_number, "a number")


def _to_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _to_flag(value: object) -> bool:
    flags = {"true": True, "false": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in flags:
        return flags[value.strip().lower()]
    raise ValueError


def _to_whole_number(value: object) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return int(value)
    raise TypeError


def _to_number(value: object) -> int | float | None:
    """Nothing is a missing number, as is NaN."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = float(value) if isinstance(value, str) else value
    if math.isinf(number):
        raise ValueError
    return None if math.isnan(number) else number


def column_names(outputs: Sequence[TensorInfo]) -> list[str]:
    """Return the columns of an answer: an output's name, with the place of each value where a row has several."""
    return list(chain.from_iterable(_columns_of(output) for output in outputs))


def _columns_of(output: TensorInfo) -> Iterable[str]:
    if output.width == 1:
        return [output.name]
    return [f"{output.name}_{index}" for index in range(max(0, output.width))]


def to_rows(outputs: Sequence[Mapping[str, Any]], rows: int) -> Iterator[list[object]]:
    """Yield the answer of each row.

    Raises:
        TensorsError: The outputs do not have that many rows.
    """
    for output in outputs:
        if not output["shape"] or output["shape"][0] != rows:
            raise TensorsError(f"the output '{output['name']}' must have {rows} rows, has the shape {output['shape']}")
    widths = [math.prod(output["shape"][1:]) for output in outputs]
    for row in range(rows):
        parts = (output["data"][row * width : (row + 1) * width] for output, width in zip(outputs, widths, strict=True))
        yield list(chain.from_iterable(parts))


def _names(names: Iterable[str]) -> str:
    """Names for a message, not more than a person wants to read."""
    listed = list(names)
    shown = [f"'{name}'" for name in listed[:20]]
    return ", ".join(shown) + (f" and {len(listed) - len(shown)} more" if len(listed) > len(shown) else "")
