"""From a model directory to a model that may answer: verified, checked against its examples, and warm."""

import time
from collections.abc import Mapping
from typing import Final

import numpy as np
import orjson

from modelyard.model import Example, Examples, InvalidModel, Signature, Tensor, agrees
from modelyard.model.directory import load_model_directory
from modelyard.serving.codec import Array, BadRequestError, Codec, InferenceRequest
from modelyard.serving.cpu import thread_count
from modelyard.serving.errors import StartError
from modelyard.serving.models import Model, RunCost
from modelyard.serving.session import RunError, Session
from modelyard.serving.settings import Settings
from modelyard.serving.verification import verify_directory

_CALIBRATION_ROWS: Final = 64
_CALIBRATION_RUNS: Final = 3


def load_model(settings: Settings) -> Model:
    """Load and check the model of the settings' directory.

    Raises:
        StartError: `DigestMismatch`, `InvalidModel` or `GoldenMismatch`.
    """
    verify_directory(settings.model_dir, settings.model_digest)
    try:
        directory = load_model_directory(settings.model_dir)
        signature = directory.signature
        session = Session(directory.model_file, signature, thread_count())
        requests = _decode_examples(directory.examples, signature)
    except (InvalidModel, OSError) as error:
        raise StartError("InvalidModel", str(error)) from None
    for index, (example, request) in enumerate(zip(directory.examples.examples, requests, strict=True)):
        _check_example(f"examples[{index}]", example, request, session, directory.examples.tolerance)
    cost = _calibrate(requests[0].inputs, signature, session, settings.max_rows)
    codec = Codec(settings.model_name, settings.model_version, signature, settings.max_rows)
    return Model(signature, codec, session, cost)


def _decode_examples(examples: Examples, signature: Signature) -> list[InferenceRequest]:
    """Decode the golden requests as if a client had sent them, but with any number of rows."""
    rows = max(tensor.shape[0] for example in examples.examples for tensor in example.inputs)
    codec = Codec("", "", signature, rows)
    requests: list[InferenceRequest] = []
    for index, example in enumerate(examples.examples):
        body = orjson.dumps({"inputs": [tensor.model_dump() for tensor in example.inputs]})
        try:
            requests.append(codec.decode(body, {}))
        except BadRequestError as error:
            raise InvalidModel(f"examples.json: examples[{index}].{error}") from None
    return requests


def _check_example(where: str, example: Example, request: InferenceRequest, session: Session, tolerance: float) -> None:
    try:
        answers = session.run(request.inputs, request.rows, [tensor.name for tensor in example.outputs])
    except RunError as error:
        raise StartError("GoldenMismatch", f"{where}: the model fails: {error}") from None
    for expected in example.outputs:
        difference = _difference(answers[expected.name], expected, tolerance)
        if difference:
            raise StartError("GoldenMismatch", f"{where}.outputs '{expected.name}': {difference}")


def _difference(answer: Array, expected: Tensor, tolerance: float) -> str | None:
    if answer.shape != expected.shape:
        return f"expected the shape {list(expected.shape)}, got {list(answer.shape)}"
    for index, (got, wanted) in enumerate(zip(answer.ravel().tolist(), expected.data, strict=True)):
        if not agrees(got, wanted, tolerance):
            return f"value {index}: expected {wanted!r}, got {got!r} (tolerance {tolerance})"
    return None


def _calibrate(inputs: Mapping[str, Array], signature: Signature, session: Session, max_rows: int) -> RunCost:
    """Measure runs with one row and with more; this also warms the session up."""
    many = min(_CALIBRATION_ROWS, max_rows)
    one_row = _fastest_run(inputs, signature, session, 1)
    many_rows = _fastest_run(inputs, signature, session, many)
    return RunCost(one_row, max(0.0, many_rows - one_row) / max(1, many - 1))


def _fastest_run(inputs: Mapping[str, Array], signature: Signature, session: Session, rows: int) -> float:
    """Seconds of the fastest of a few runs with the first row repeated."""
    repeated = {
        tensor.name: np.repeat(inputs[tensor.name][:1], rows, axis=0) if tensor.shape[0] == -1 else inputs[tensor.name]
        for tensor in signature.inputs
    }
    outputs = [tensor.name for tensor in signature.outputs]
    fastest = float("inf")
    for _ in range(_CALIBRATION_RUNS):
        begin = time.perf_counter()
        session.run(repeated, rows, outputs)
        fastest = min(fastest, time.perf_counter() - begin)
    return fastest
