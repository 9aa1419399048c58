"""From a model directory to a model that may answer: verified, checked against its examples, measured and warm."""

import resource
import time
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final

import numpy as np
import orjson

from modelyard.model import Example, Examples, InvalidModel, Signature, Tensor, agrees
from modelyard.model.directory import load_model_directory
from modelyard.serving.answers import Answer, Run
from modelyard.serving.cpu import thread_count
from modelyard.serving.decoding import BadRequestError, Decoder, InferenceRequest
from modelyard.serving.encoding import Encoder
from modelyard.serving.errors import StartError
from modelyard.serving.models import LoadTimes, Model, RunCost
from modelyard.serving.runs import join_inputs, run_together
from modelyard.serving.session import RunError, Session
from modelyard.serving.settings import Settings
from modelyard.serving.tensors import Array
from modelyard.serving.verification import verify_directory

_ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_RUNS: Final = 3
_LONGEST_RUN: Final = 0.005
"""Seconds: requests that share a run wait for all of it, so it may not become long for their sake."""
_NEAR_BEST: Final = 1.1


def load_model(settings: Settings) -> Model:
    """Load and check the model of the settings' directory.

    Raises:
        StartError: `DigestMismatch`, `InvalidModel`, `DeviceUnavailable` or `GoldenMismatch`.
    """
    digest = verify_directory(settings.model_dir, settings.model_digest)
    begin, before = time.perf_counter(), _memory()
    try:
        directory = load_model_directory(settings.model_dir)
        signature = directory.signature
        session = Session(directory.model_file, signature, thread_count(), settings.device)
        requests = _decode_examples(directory.examples, signature)
    except (InvalidModel, OSError) as error:
        raise StartError("InvalidModel", str(error)) from None
    loaded = time.perf_counter()
    _check_examples(directory.examples, requests, session)
    checked = time.perf_counter()
    mergeable = _can_be_merged(signature) and _rows_are_independent(directory.examples, requests, session)
    cost = _calibrate(requests[0], session, settings.max_rows)
    times = LoadTimes(loaded - begin, checked - loaded, time.perf_counter() - checked, _memory() - before)
    decoder = Decoder(signature, settings.max_rows)
    encoder = Encoder(settings.model_name, settings.model_version, signature)
    return Model(digest, directory.baseline, decoder, encoder, session, cost, mergeable, times)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _decode_examples(examples: Examples, signature: Signature) -> list[InferenceRequest]:
    """Decode the golden requests as if a client had sent them, but with any number of rows."""
    rows = max(tensor.shape[0] for example in examples.examples for tensor in example.inputs)
    decoder = Decoder(signature, rows)
    requests: list[InferenceRequest] = []
    for index, example in enumerate(examples.examples):
        body = orjson.dumps({"inputs": [tensor.model_dump() for tensor in example.inputs]})
        try:
            requests.append(decoder.decode(body, {}))
        except BadRequestError as error:
            raise InvalidModel(f"examples.json: examples[{index}].{error}") from None
    return requests


def _check_examples(examples: Examples, requests: Sequence[InferenceRequest], session: Session) -> None:
    for index, (example, request) in enumerate(zip(examples.examples, requests, strict=True)):
        (outcome,) = run_together(session, [request])
        if isinstance(outcome, Exception):
            raise StartError("GoldenMismatch", f"examples[{index}]: the model fails: {outcome}")
        difference = _difference(outcome, example, examples.tolerance)
        if difference:
            raise StartError("GoldenMismatch", f"examples[{index}].outputs {difference}")


def _difference(answer: Answer, example: Example, tolerance: float) -> str | None:
    differences = (_tensor_difference(answer.array(tensor.name), tensor, tolerance) for tensor in example.outputs)
    return next(filter(None, differences), None)


def _tensor_difference(array: Array, expected: Tensor, tolerance: float) -> str | None:
    if array.shape != expected.shape:
        return f"'{expected.name}': expected the shape {list(expected.shape)}, got {list(array.shape)}"
    for index, (got, wanted) in enumerate(zip(array.ravel().tolist(), expected.data, strict=True)):
        if not agrees(got, wanted, tolerance):
            return f"'{expected.name}': value {index}: expected {wanted!r}, got {got!r} (tolerance {tolerance})"
    return None


def _can_be_merged(signature: Signature) -> bool:
    """Whether the shapes of the model's tensors allow that rows of several requests are joined."""
    return all(tensor.shape[0] == -1 and -1 not in tensor.shape[1:] for tensor in signature.inputs) and all(
        tensor.shape[0] == -1 for tensor in signature.outputs
    )


def _rows_are_independent(examples: Examples, requests: Sequence[InferenceRequest], session: Session) -> bool:
    """Whether the golden requests, all answered by one run, get the answers that they have alone."""
    rows = sum(request.rows for request in requests)
    joined = join_inputs(session, [*requests, requests[0]])
    try:
        run = Run(joined, session.run(joined, rows + requests[0].rows), rows + requests[0].rows)
    except RunError:
        return False
    begin = 0
    for example, request in zip(examples.examples, requests, strict=True):
        answer = Answer(run, begin, begin + request.rows, whole=False)
        if _difference(answer, example, examples.tolerance):
            return False
        begin += request.rows
    return all(len(array) == run.rows for array in run.outputs.values())


def _calibrate(request: InferenceRequest, session: Session, max_rows: int) -> RunCost:
    """Measure runs of one row and of more, until they become long; this also warms the session up."""
    inputs = join_inputs(session, [request])
    measured: dict[int, float] = {}
    for rows in takewhile(lambda rows: rows <= max_rows, _ROWS):
        measured[rows] = _fastest_run(inputs, session, rows)
        if measured[rows] > _LONGEST_RUN:
            break
    best = min(seconds / rows for rows, seconds in measured.items())
    allowed = [rows for rows, seconds in measured.items() if rows == 1 or seconds <= _LONGEST_RUN]
    near_best = [rows for rows in allowed if measured[rows] / rows <= best * _NEAR_BEST]
    most = max(measured)
    further = max(0.0, measured[most] - measured[1]) / max(1, most - 1)
    # As many as may be: between requests the model leaves the processor's caches, and one run brings it back once.
    return RunCost(measured[1], further, max(near_best, default=max(allowed)))


def _fastest_run(inputs: Mapping[str, Array], session: Session, rows: int) -> float:
    """Seconds of the fastest of a few runs with the first row repeated."""
    repeated = {
        tensor.name: np.repeat(inputs[tensor.name][:1], rows, axis=0) if tensor.shape[0] == -1 else inputs[tensor.name]
        for tensor in session.signature.inputs
    }
    fastest = float("inf")
    for _ in range(_RUNS):
        begin = time.perf_counter()
        session.run(repeated, rows)
        fastest = min(fastest, time.perf_counter() - begin)
        if fastest > _LONGEST_RUN:
            break
    return fastest
