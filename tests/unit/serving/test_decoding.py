import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.model import Datatype, InputTensor, Kind, OutputTensor, Signature, Task
from modelyard.serving.answers import Answer, Run
from modelyard.serving.decoding import HEADER_LENGTH, BadRequestError, Decoder, InferenceRequest, RequestedOutput
from modelyard.serving.encoding import Encoded, Encoder
from modelyard.serving.runs import join_column
from modelyard.serving.tensors import DTYPES, Array

NUMBERS = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def signature_of(datatype: Datatype, shape: tuple[int, ...] = (-1, 2), *, nullable: bool = False) -> Signature:
    kind = Kind.CATEGORICAL if datatype is Datatype.BYTES else Kind.NUMERIC
    return Signature(
        task=Task.OTHER,
        inputs=(InputTensor(name="x", datatype=datatype, shape=shape, kind=kind, nullable=nullable),),
        outputs=(OutputTensor(name="y", datatype=datatype, shape=shape),),
    )


def decoder_for(
    datatype: Datatype, shape: tuple[int, ...] = (-1, 2), *, nullable: bool = False, max_rows: int = 100
) -> Decoder:
    return Decoder(signature_of(datatype, shape, nullable=nullable), max_rows)


def input_of(decoded: InferenceRequest, datatype: Datatype, *, nullable: bool = False) -> Array:
    return join_column([decoded.inputs["x"]], signature_of(datatype, nullable=nullable).inputs[0])


def encode(datatype: Datatype, array: Array, wanted: RequestedOutput, identifier: str | None = None) -> Encoded:
    answer = Answer(Run({}, {"y": array}, len(array)), 0, len(array), whole=True)
    asked = InferenceRequest(identifier, {}, len(array), [wanted] if wanted.binary else None)
    return Encoder("m", "1", signature_of(datatype)).encode(asked, answer)


def request(datatype: Datatype, shape: list[int], data: Any) -> bytes:
    return orjson.dumps({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]})


def binary_request(datatype: Datatype, shape: list[int], raw: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    header = orjson.dumps({"inputs": [tensor]})
    return header + raw, {HEADER_LENGTH: b"%d" % len(header)}


def as_request(encoded: Encoded) -> tuple[bytes, dict[bytes, bytes]]:
    """Turn an answer's output `y` into a request's input `x`."""
    body, header_length = encoded
    length = len(body) if header_length is None else header_length
    document = orjson.loads(body[:length])
    document["inputs"] = [tensor | {"name": "x"} for tensor in document.pop("outputs")]
    header = orjson.dumps(document)
    headers = {} if header_length is None else {HEADER_LENGTH: b"%d" % len(header)}
    return header + body[length:], headers


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Datatype, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(Datatype))
    rows = draw(st.integers(0, 5))
    count = rows * 2
    values: st.SearchStrategy[Any]
    if datatype is Datatype.BYTES:
        values = st.text(st.characters(codec="utf-8"), max_size=5)
    elif datatype is Datatype.BOOL:
        values = st.booleans()
    elif datatype.is_integer:
        limits = np.iinfo(DTYPES[datatype])
        values = st.integers(int(limits.min), int(limits.max))
    else:
        values = st.floats(width=DTYPES[datatype].itemsize * 8, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    data = draw(st.lists(values, min_size=count, max_size=count))
    return datatype, np.array(data, dtype=DTYPES[datatype]).reshape(rows, 2)


@given(tensors(), st.booleans())
def test_every_tensor_comes_back_as_it_was_sent(tensor: tuple[Datatype, np.ndarray[Any, Any]], binary: bool) -> None:
    datatype, array = tensor
    sent = encode(datatype, array, RequestedOutput("y", binary), "7")
    received = decoder_for(datatype).decode(*as_request(sent))
    values = input_of(received, datatype)
    assert (received.rows, received.id) == (len(array), "7")
    assert values.dtype == array.dtype
    assert values.tolist() == array.tolist()


@given(st.binary(max_size=200), st.one_of(st.none(), st.binary(max_size=5)))
def test_no_bytes_break_the_decoder(body: bytes, length: bytes | None) -> None:
    headers = {} if length is None else {HEADER_LENGTH: length}
    with pytest.raises(BadRequestError):
        decoder_for(Datatype.FP32).decode(body, headers)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(Datatype),
    st.dictionaries(st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), _json),
    _json,
)
def test_no_document_breaks_the_decoder(datatype: Datatype, fields: dict[str, Any], outputs: Any) -> None:
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 2], "data": [1, 2], **fields}
    body = orjson.dumps({"inputs": [tensor], "outputs": outputs})
    try:
        decoded = decoder_for(datatype).decode(body, {})
    except BadRequestError as error:
        assert str(error)  # noqa: PT017 - either is right, and a refusal says something
    else:
        assert input_of(decoded, datatype).shape == (1, 2)


@pytest.mark.parametrize(
    ("datatype", "data", "message"),
    [
        (Datatype.INT8, [1, 128], "outside the range of 'INT8'"),
        (Datatype.UINT8, [1, -1], "outside the range of 'UINT8'"),
        (Datatype.INT64, [1, 2**63], "outside the range of 'INT64'"),
        (Datatype.INT64, [1, 2.0], "data[1]: must be a whole number, got 2.0"),
        (Datatype.INT64, [1, True], "data[1]: must be a whole number, got true"),
        (Datatype.BOOL, [True, 1], "data[1]: must be true or false, got 1"),
        (Datatype.BYTES, ["a", None], "data[1]: must be a string, got null"),
        (Datatype.FP64, [1, "2"], 'data[1]: must be a number, got "2"'),
        (Datatype.FP32, [1, [2]], "data[1]: must be a number, got [2]"),
        (Datatype.FP32, [[1], [2]], "nested as shape [1, 2] says"),
    ],
)
def test_value_that_is_no_value_of_the_datatype_is_named(datatype: Datatype, data: Any, message: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        decoder_for(datatype).decode(request(datatype, [1, 2], data), {})
    assert message in str(refused.value)


def test_missing_number_is_nan_where_nullable_in_json_and_in_binary() -> None:
    decoder = decoder_for(Datatype.FP32, nullable=True)
    raw = np.array([[math.nan, 1]], dtype=np.float32).tobytes()
    for body, headers in ((request(Datatype.FP32, [1, 2], [None, 1]), {}), binary_request(Datatype.FP32, [1, 2], raw)):
        assert np.isnan(input_of(decoder.decode(body, headers), Datatype.FP32)).tolist() == [[True, False]]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_binary_value_that_is_not_finite_is_refused(value: float) -> None:
    raw = np.array([[1, value]], dtype=np.float32).tobytes()
    with pytest.raises(BadRequestError, match="value 1 is not a finite 'FP32'"):
        decoder_for(Datatype.FP32).decode(*binary_request(Datatype.FP32, [1, 2], raw))


@pytest.mark.parametrize(
    ("datatype", "raw", "message"),
    [
        (Datatype.FP32, b"1234", r"shape \[1, 2\] takes 8 bytes of binary data, got 4"),
        (Datatype.BYTES, b"", "does not hold exactly 2 elements"),
        (Datatype.BYTES, b"\1\0\0\0a", "does not hold exactly 2 elements"),
        (Datatype.BYTES, b"\1\0\0\0a\1\0\0\0", "does not hold exactly 2 elements"),
        (Datatype.BYTES, b"\1\0\0\0a\xff\xff\xff\xffb", "does not hold exactly 2 elements"),
        (Datatype.BYTES, b"\1\0\0\0a\1\0\0\0bc", "does not hold exactly 2 elements"),
        (Datatype.BYTES, b"\1\0\0\0a\1\0", "does not hold exactly 2 elements"),
        (Datatype.BYTES, b"\1\0\0\0a\1\0\0\0\xff", "element 1 is not valid UTF-8"),
    ],
)
def test_binary_data_of_the_wrong_length_or_content_is_refused(datatype: Datatype, raw: bytes, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        decoder_for(datatype).decode(*binary_request(datatype, [1, 2], raw))


@pytest.mark.parametrize("size", [-1, 1.5, True, "8", 2**62])
def test_binary_data_size_that_is_no_size_is_refused(size: Any) -> None:
    body = orjson.loads(request(Datatype.FP32, [1, 2], None))
    body["inputs"][0]["parameters"] = {"binary_data_size": size}
    with pytest.raises(BadRequestError):
        decoder_for(Datatype.FP32).decode(orjson.dumps(body), {})


def test_binary_bool_is_read_as_true_for_any_byte_but_zero() -> None:
    array = decoder_for(Datatype.BOOL).decode(*binary_request(Datatype.BOOL, [1, 2], b"\x00\x05")).inputs["x"]
    assert isinstance(array, np.ndarray)
    assert (array.dtype, array.tolist()) == (np.dtype(np.bool_), [[False, True]])


def test_unaligned_binary_data_becomes_an_aligned_array() -> None:
    for padding in range(8):
        body, headers = binary_request(Datatype.FP64, [1, 2], np.array([1.0, 2.0]).tobytes())
        length = int(headers[HEADER_LENGTH])
        padded = body[:length] + b" " * padding + body[length:]
        array = decoder_for(Datatype.FP64).decode(padded, {HEADER_LENGTH: b"%d" % (length + padding)}).inputs["x"]
        assert isinstance(array, np.ndarray)
        assert array.flags.aligned
        assert array.tolist() == [[1.0, 2.0]]


def test_fixed_first_dimension_is_no_batch() -> None:
    decoder = decoder_for(Datatype.FP32, (3, 2), max_rows=1)
    assert decoder.decode(request(Datatype.FP32, [3, 2], [0] * 6), {}).rows == 1
    with pytest.raises(BadRequestError, match=r"must be \[3, 2\]"):
        decoder.decode(request(Datatype.FP32, [1, 2], [0] * 2), {})


def test_rows_are_bounded_before_the_data_is_looked_at() -> None:
    with pytest.raises(BadRequestError, match="at most 100 rows are allowed, got 101"):
        decoder_for(Datatype.FP32).decode(request(Datatype.FP32, [101, 2], ["junk"]), {})


def test_shape_of_any_size_costs_nothing_before_it_is_refused() -> None:
    body = request(Datatype.FP32, [1, 2**31 - 1], [1])
    with pytest.raises(BadRequestError, match="takes 2147483647 values, got 1"):
        decoder_for(Datatype.FP32, (-1, -1)).decode(body, {})


@pytest.mark.parametrize("shape", [[0, 2**62], [0, 2**31], [-1, 2], [1, True], [1, 2.0]])
def test_shape_that_no_tensor_has_is_refused(shape: list[Any]) -> None:
    for columns in (-1, 2):
        with pytest.raises(BadRequestError, match="shape: must be"):
            decoder_for(Datatype.FP32, (-1, columns)).decode(request(Datatype.FP32, shape, []), {})


@pytest.mark.parametrize("field", ["name", "datatype", "shape", "data", "parameters"])
def test_value_nested_more_deeply_than_can_be_shown_is_refused(field: str) -> None:
    nested = b"[" * 600 + b"]" * 600
    body = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], field: 0}]})
    body = body.replace(b'"%s":0' % field.encode(), b'"%s":%s' % (field.encode(), nested))
    with pytest.raises(BadRequestError):
        decoder_for(Datatype.FP32).decode(body, {})


def test_header_length_of_many_digits_is_refused() -> None:
    with pytest.raises(BadRequestError, match="Inference-Header-Content-Length"):
        decoder_for(Datatype.FP32).decode(b"{}", {HEADER_LENGTH: b"9" * 5000})


@pytest.mark.parametrize(
    ("of_request", "of_output", "binary"),
    [(None, None, False), (True, None, True), (True, False, False), (None, True, True), (False, None, False)],
)
def test_binary_outputs_are_chosen_by_output_and_else_by_request(
    of_request: bool | None, of_output: bool | None, binary: bool
) -> None:
    body = orjson.loads(request(Datatype.FP32, [1, 2], [1, 2]))
    body["parameters"] = {"binary_data_output": of_request} if of_request is not None else {}
    parameters = {} if of_output is None else {"binary_data": of_output}
    body["outputs"] = [{"name": "y", "parameters": parameters}]
    decoded = decoder_for(Datatype.FP32).decode(orjson.dumps(body), {})
    assert decoded.outputs == [RequestedOutput("y", binary)]


def test_fields_that_are_null_are_absent() -> None:
    body = orjson.loads(request(Datatype.FP32, [1, 2], [1, 2]))
    body |= {"id": None, "parameters": None, "outputs": None}
    body["inputs"][0]["parameters"] = None
    decoded = decoder_for(Datatype.FP32).decode(orjson.dumps(body), {})
    assert (decoded.id, decoded.outputs) == (None, None)


def test_answer_that_is_not_finite_is_null_in_json() -> None:
    array = np.array([[math.nan, math.inf]], dtype=np.float32)
    body, _ = encode(Datatype.FP32, array, RequestedOutput("y", binary=False))
    assert orjson.loads(body) == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [None, None]}],
    }


def test_error_messages_stay_short() -> None:
    body = orjson.dumps({"inputs": [{"name": "n" * 10_000}]})
    with pytest.raises(BadRequestError) as refused:
        decoder_for(Datatype.FP32).decode(body, {})
    assert len(str(refused.value)) < 300
