"""Whatever the fast reader takes, the careful decoder takes and understands in the same way."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.model import Datatype, InputTensor, Kind, OutputTensor, Signature, Task
from modelyard.serving.decoding import HEADER_LENGTH, BadRequestError, Decoder, InferenceRequest
from modelyard.serving.plain import PlainReader
from modelyard.serving.runs import join_column

SIGNATURE = Signature(
    task=Task.OTHER,
    inputs=(
        InputTensor(name="size", datatype=Datatype.FP32, shape=(-1, 2), kind=Kind.NUMERIC),
        InputTensor(name="hour", datatype=Datatype.INT64, shape=(-1, 1), kind=Kind.NUMERIC),
    ),
    outputs=(OutputTensor(name="y", datatype=Datatype.FP32, shape=(-1,)),),
)
OF_ALL_KINDS = Signature(
    task=Task.OTHER,
    inputs=(
        InputTensor(name="size", datatype=Datatype.FP64, shape=(-1, 2), kind=Kind.NUMERIC, nullable=True),
        InputTensor(name="carrier", datatype=Datatype.BYTES, shape=(-1,), kind=Kind.CATEGORICAL),
        InputTensor(name="late", datatype=Datatype.BOOL, shape=(-1, 1), kind=Kind.NUMERIC),
    ),
    outputs=SIGNATURE.outputs,
)
BINARY = Signature(
    task=Task.OTHER,
    inputs=(SIGNATURE.inputs[0], OF_ALL_KINDS.inputs[1]),
    outputs=SIGNATURE.outputs,
)
_numbers = st.integers(-(2**65), 2**65) | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
_values = _numbers | st.none() | st.booleans() | st.text(max_size=2) | st.lists(_numbers, max_size=2)


@st.composite
def documents(draw: st.DrawFn, signature: Signature) -> dict[str, Any]:
    """Requests that are nearly right: every part may be wrong, most often none is."""
    rows = draw(st.integers(0, 3))
    entries = []
    for tensor in draw(st.permutations(signature.inputs)):
        good: st.SearchStrategy[Any] = (
            st.text(max_size=2)
            if tensor.datatype is Datatype.BYTES
            else st.booleans()
            if tensor.datatype is Datatype.BOOL
            else st.integers(-9, 9)
            if tensor.datatype is Datatype.INT64
            else st.floats(-1e9, 1e9) | st.integers(-9, 9)
        )
        width = 2 if tensor.shape[1:] == (2,) else 1
        length = draw(st.just(rows * width) | st.integers(0, 7))
        values = draw(st.lists(draw(st.sampled_from([good, good, good, _values])), min_size=length, max_size=length))
        shape = draw(st.just([rows, *tensor.shape[1:]]) | st.lists(_numbers | st.booleans(), max_size=3))
        entry = {"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": values}
        entries.append(
            entry | draw(st.just({}) | st.dictionaries(st.sampled_from([*entry, "parameters"]), _values, max_size=1))
        )
    extra = st.dictionaries(st.sampled_from(["id", "outputs", "parameters", "inputs", "x"]), _values, max_size=1)
    return {"inputs": entries} | draw(st.just({}) | extra)


def _carefully(signature: Signature, body: bytes, headers: dict[bytes, bytes] | None = None) -> InferenceRequest | None:
    decoder = Decoder(signature, 100)
    decoder._plain._takes_part = decoder._plain._all_numbers = False
    try:
        return decoder.decode(body, headers or {})
    except BadRequestError:
        return None


@np.errstate(over="raise")
def _same(signature: Signature, columns: Any, careful: InferenceRequest) -> bool:
    return all(
        np.array_equal(
            join_column([columns[tensor.name]], tensor),
            join_column([careful.inputs[tensor.name]], tensor),
            equal_nan=tensor.datatype is Datatype.FP64,
        )
        for tensor in signature.inputs
    )


@pytest.mark.parametrize("signature", [SIGNATURE, OF_ALL_KINDS])
@given(data=st.data())
def test_what_is_read_fast_is_what_the_careful_decoder_reads(signature: Signature, data: st.DataObject) -> None:
    document = data.draw(documents(signature))
    document.pop("id", None)  # the decoder looks at it itself
    body = json.dumps(document).encode()
    fast = PlainReader(signature, 100).read(orjson.loads(body))
    careful = _carefully(signature, body)
    if fast is not None:
        columns, rows = fast
        try:
            same = careful is not None and _same(signature, columns, careful)
        except BadRequestError:
            same = careful is None  # numbers out of range are found when columns are joined
        assert same
        assert careful is None or careful.rows == rows


@given(documents(SIGNATURE))
def test_what_is_read_as_numbers_is_what_the_careful_decoder_reads(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode() + b" " * 2000
    fast = PlainReader(SIGNATURE, 100).read_numbers(body)
    if fast is not None:
        identifier, columns, rows = fast
        careful = _carefully(SIGNATURE, body)
        assert careful is not None
        assert (careful.id, careful.rows) == (identifier, rows)
        assert _same(SIGNATURE, columns, careful)


@st.composite
def binary_requests(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """Requests with binary inputs that are nearly right."""
    rows = draw(st.integers(0, 3))
    entries, parts = [], []
    for tensor in draw(st.permutations(BINARY.inputs)):
        width = 2 if tensor.shape[1:] == (2,) else 1
        if tensor.datatype is Datatype.BYTES:
            texts = draw(st.lists(st.binary(max_size=3), min_size=rows * width, max_size=rows * width))
            part = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        else:
            finite = draw(st.booleans())
            floats = st.floats(width=32, allow_nan=not finite, allow_infinity=not finite)
            values = draw(st.lists(floats, min_size=rows * width, max_size=rows * width))
            part = np.array(values, dtype="<f4").tobytes()
        parts.append(draw(st.just(part) | st.binary(max_size=9)))
        size = draw(st.just(len(parts[-1])) | st.integers(-1, 20) | st.booleans())
        shape = draw(st.just([rows, *tensor.shape[1:]]) | st.lists(_numbers | st.booleans(), max_size=3))
        entry = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": shape,
            "parameters": {"binary_data_size": size},
        }
        entries.append(
            entry | draw(st.just({}) | st.dictionaries(st.sampled_from([*entry, "data"]), _values, max_size=1))
        )
    return {"inputs": entries}, b"".join(parts) + draw(st.just(b"") | st.binary(max_size=2))


@given(binary_requests())
def test_what_is_read_from_binary_data_is_what_the_careful_decoder_reads(request: tuple[dict[str, Any], bytes]) -> None:
    document, data = request
    head = json.dumps(document).encode()
    fast = PlainReader(BINARY, 100).read_binary(document, memoryview(data))
    if fast is not None:
        columns, rows = fast
        careful = _carefully(BINARY, head + data, {HEADER_LENGTH: b"%d" % len(head)})
        assert careful is not None
        assert careful.rows == rows
        assert _same(BINARY, columns, careful)


def test_large_request_of_numbers_is_read_fast_and_small_or_nested_ones_are_not() -> None:
    rows = 200

    def body(count: int, data: Any) -> bytes:
        sizes = {"name": "size", "datatype": "FP32", "shape": [count, 2], "data": data}
        hours = {"name": "hour", "datatype": "INT64", "shape": [count, 1], "data": [1] * count}
        return orjson.dumps({"id": "a", "inputs": [sizes, hours]})

    reader = PlainReader(SIGNATURE, rows)
    read = reader.read_numbers(body(rows, [0.25] * 2 * rows))
    assert read is not None
    identifier, columns, count = read
    assert (identifier, count) == ("a", rows)
    assert {name: np.asarray(column).dtype.name for name, column in columns.items()} == {
        "size": "float32",
        "hour": "int64",
    }
    assert reader.read_numbers(body(1, [0.25] * 2)) is None
    assert reader.read_numbers(body(rows, [[0.25] * 2] * rows)) is None
    assert reader.read_numbers(body(rows, [0.25, 1e39] * rows)) is None
    assert reader.read_numbers(body(rows, [0.25, None] * rows)) is None
    assert reader.read_numbers(body(rows, [0.25] * 2 * rows)) is not None


def test_binary_request_of_the_common_form_is_read_fast() -> None:
    entries = [
        {"name": "size", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        {"name": "carrier", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}},
    ]
    data = np.array([1.5, 2.5], "<f4").tobytes() + b"\2\0\0\0AA"
    read = PlainReader(BINARY, 100).read_binary({"inputs": entries}, memoryview(data))
    assert read is not None
    columns, rows = read
    assert (np.asarray(columns["size"]).tolist(), columns["carrier"], rows) == ([[1.5, 2.5]], ["AA"], 1)
    assert PlainReader(BINARY, 100).read_binary({"inputs": entries}, memoryview(data + b"x")) is None


def test_models_with_other_than_a_batch_of_rows_are_left_to_the_careful_decoder() -> None:
    for shape in ((3, 2), (-1, -1)):
        tensor = SIGNATURE.inputs[0].model_copy(update={"shape": shape})
        signature = SIGNATURE.model_copy(update={"inputs": (tensor,)})
        entry = {"name": "size", "datatype": "FP32", "shape": [3, 2], "data": [1] * 6}
        assert PlainReader(signature, 100).read({"inputs": [entry]}) is None
