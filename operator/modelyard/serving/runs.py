"""One run for several requests: their rows are joined, and the answers cut apart again. No event loop, no clock."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TypeAlias

import numpy as np

from modelyard.model import InputTensor
from modelyard.serving.answers import Answer, Run
from modelyard.serving.decoding import InferenceRequest, InvalidValueError
from modelyard.serving.session import Session
from modelyard.serving.tensors import DTYPES, Array, Column

Outcome: TypeAlias = "Answer | Exception"


def run_together(session: Session, requests: Sequence[InferenceRequest]) -> list[Outcome]:
    """Answer requests with one run. When that fails they are run one by one, so that none fails because of another."""
    try:
        return list(_run(session, requests))
    except Exception as error:  # noqa: BLE001 - it belongs to the request, whatever it is
        if len(requests) == 1:
            return [error]
        return [outcome for request in requests for outcome in run_together(session, [request])]


def join_inputs(session: Session, requests: Sequence[InferenceRequest]) -> dict[str, Array]:
    """Return the inputs of all requests, one after the other.

    Raises:
        InvalidValueError: A number is outside the range of its input's datatype.
    """
    with np.errstate(over="raise"):
        return {
            tensor.name: join_column([request.inputs[tensor.name] for request in requests], tensor)
            for tensor in session.signature.inputs
        }


def _run(session: Session, requests: Sequence[InferenceRequest]) -> Sequence[Answer]:
    ends = list(accumulate(request.rows for request in requests))
    inputs = join_inputs(session, requests)
    single_rows = 1 < len(requests) == ends[-1] and all(request.rows == 1 for request in requests)
    size = sum([request.size for request in requests])
    run = Run(inputs, session.run(inputs, ends[-1]), ends[-1], size=size, single_rows=single_rows)
    whole = len(requests) == 1
    return [Answer(run, end - request.rows, end, whole=whole) for request, end in zip(requests, ends, strict=True)]


def join_column(columns: Sequence[Column], tensor: InputTensor) -> Array:
    """Return the values of one input of several requests as one array.

    Raises:
        InvalidValueError: A number is outside the range of the input's datatype (floating-point overflow must be
            made an error by the caller).
    """
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) == len(columns):
        return _to_array(lists[0] if len(lists) == 1 else list(chain.from_iterable(lists)), tensor)
    arrays = [_to_array(column, tensor) if isinstance(column, list) else column for column in columns]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _to_array(values: Sequence[object], tensor: InputTensor) -> Array:
    try:
        array = np.array(values, dtype=DTYPES[tensor.datatype])
    except (OverflowError, FloatingPointError):
        raise InvalidValueError(
            f"inputs '{tensor.name}'.data: has a number outside the range of '{tensor.datatype}'",
            tensor.name,
            "out_of_range",
        ) from None
    return array.reshape(-1, *tensor.shape[1:])
