import json
from pathlib import Path

import numpy as np
import pytest

from bench.serving.workloads import BINARY, Message, Workload, decode_answer


@pytest.fixture
def columns(tmp_path: Path) -> Workload:
    rows = {"number": np.array([[0.1], [1 / 3]]), "text": np.array([["é"], ["bc"]], dtype=object)}
    return Workload("mixed", tmp_path, rows)


def test_json_request_has_all_digits(columns: Workload) -> None:
    assert json.loads(columns.request(2).body)["inputs"] == [
        {"name": "number", "shape": [2, 1], "datatype": "FP32", "data": [0.1, 1 / 3]},
        {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": ["é", "bc"]},
    ]


def test_binary_request_follows_the_binary_tensor_extension(columns: Workload) -> None:
    message = columns.request(1, BINARY, first=1)
    header = json.loads(message.body[: message.header_length])
    assert [tensor["parameters"] for tensor in header["inputs"]] == [{"binary_data_size": 4}, {"binary_data_size": 6}]
    assert message.body[message.header_length :] == np.float32(1 / 3).tobytes() + b"\x02\x00\x00\x00bc"
    assert message.headers["Inference-Header-Content-Length"] == str(message.header_length)


def test_decode_answer_reads_json_and_binary_tensors_alike() -> None:
    head = {"name": "a", "datatype": "FP32", "shape": [2, 1]}
    plain = json.dumps({"outputs": [head | {"data": [0.5, 2]}]}).encode()
    binary = json.dumps({"outputs": [head | {"parameters": {"binary_data_size": 8}}]}).encode()
    answers = [
        decode_answer(Message(plain)),
        decode_answer(Message(binary + np.array([0.5, 2], "<f4").tobytes(), len(binary))),
    ]
    assert [answer["a"].tolist() for answer in answers] == [[[0.5], [2.0]]] * 2


def test_fault_names_what_is_no_answer(columns: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.serving.workloads._answers", lambda *_: {"label": np.array([1, 0])})
    right, wrong = (json.dumps({"outputs": [{"name": "label", "shape": [1], "data": [n]}]}).encode() for n in (1, 0))
    assert not columns.fault(Message(right), 1)
    assert columns.fault(Message(right), 1, first=1).startswith("output 'label' is [1], must be [0]")
    assert columns.fault(Message(wrong), 1).startswith("output 'label' is [0], must be [1]")
    assert columns.fault(Message(b"{}"), 1).startswith("not an answer: KeyError('outputs')")
