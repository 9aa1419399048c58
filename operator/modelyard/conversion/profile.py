"""The baseline: counts of a model's inputs and outputs over the data that it was trained on."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelyard.conversion.tensors import Tensors
from modelyard.model import Baseline, CategoricalProfile, InputTensor, Kind, NumericProfile, OutputTensor, Signature
from modelyard.statistics.histogram import histogram, most_frequent, quantile_edges

MAX_CATEGORIES: Final = 50
MAX_INPUT_COLUMNS: Final = 500
MAX_OUTPUT_COLUMNS: Final = 50
_BINARY: Final = 2


def baseline(signature: Signature, inputs: Tensors, outputs: Tensors) -> Baseline:
    """Return counts in bins for every column that the model is given, and for the numbers that it answers."""
    features = tuple(
        profile(name, tensor.kind, values)
        for tensor in signature.inputs
        for name, values in _input_columns(tensor, inputs[tensor.name])
    )
    answers = tuple(
        profile(name, Kind.NUMERIC, values)
        for tensor in signature.outputs
        for name, values in _columns(tensor, outputs[tensor.name])
    )
    return Baseline(rows=len(next(iter(inputs.values()))), features=features, outputs=answers)


def profile(name: str, kind: Kind, values: NDArray[Any]) -> NumericProfile | CategoricalProfile:
    """Count one column. An empty text is missing."""
    flat = values.reshape(-1)
    if kind is Kind.NUMERIC:
        numbers = flat.astype(np.float64)
        counted = histogram(numbers, quantile_edges(numbers))
        return NumericProfile(
            name=name,
            edges=counted.edges,
            counts=counted.counts,
            below=counted.below,
            above=counted.above,
            missing=counted.missing,
        )
    texts = flat.astype(str)
    present = texts[texts != ""]
    frequent = most_frequent(present, MAX_CATEGORIES)
    counts = tuple(count for _, count in frequent)
    return CategoricalProfile(
        name=name,
        categories=tuple(text for text, _ in frequent),
        counts=counts,
        other=len(present) - sum(counts),
        missing=len(texts) - len(present),
    )


def _input_columns(tensor: InputTensor, values: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    columns = values.reshape(len(values), -1)
    if columns.shape[1] == 1:
        yield tensor.name, columns[:, 0]
        return
    for index in range(min(columns.shape[1], MAX_INPUT_COLUMNS)):
        yield f"{tensor.name}/{index}", columns[:, index]


def _columns(tensor: OutputTensor, values: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    if not tensor.datatype.is_float:
        return
    columns = values.reshape(len(values), -1)
    if columns.shape[1] == 1:
        yield tensor.name, columns[:, 0]
        return
    # The two probabilities of a binary classifier say the same.
    first = 1 if columns.shape[1] == _BINARY and tensor.classes else 0
    for index in range(first, min(columns.shape[1], MAX_OUTPUT_COLUMNS)):
        yield f"{tensor.name}/{index}", columns[:, index]
