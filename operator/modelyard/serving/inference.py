"""The infer endpoint: decode, run within the deadline, encode."""

import asyncio
import logging
import time
from functools import partial
from typing import Final

from modelyard.serving.codec import Array, BadRequestError, InferenceRequest
from modelyard.serving.messages import RETRY_LATER, Request, Respond, Response, problem
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Model
from modelyard.serving.session import RunError
from modelyard.serving.worker import Worker

INLINE_SECONDS: Final = 0.002
"""A run up to this long holds up the event loop less than handing it to the worker would cost."""
MAX_QUEUED: Final = 64
"""Requests handed to the worker and not answered yet."""

Answers = dict[str, Array]

_log = logging.getLogger(__name__)


class Inference:
    """Answers inference requests, short runs at once and long ones through the worker.

    Args:
        headers: Header lines of every answer.
    """

    def __init__(self, timeout_seconds: float, headers: bytes, metrics: Metrics, worker: Worker) -> None:
        self._timeout_seconds = timeout_seconds
        self._headers = headers
        self._metrics = metrics
        self._worker = worker

    def answer(self, model: Model, request: Request, respond: Respond) -> None:
        """Answer a request now, or when its run in the worker is done."""
        if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            respond(self._problem(415, "Content-Encoding: compressed requests are not supported"))
            return
        try:
            decoded = model.codec.decode(request.body, request.headers)
        except BadRequestError as error:
            respond(self._problem(400, str(error)))
            return
        deadline = request.received + self._timeout_seconds
        if model.cost.of(decoded.rows) > INLINE_SECONDS:
            self._queue(model, decoded, deadline, respond)
            return
        try:
            respond(self._encode(model, decoded, _run(model, decoded, deadline)))
        except (TimeoutError, RunError) as error:
            respond(self._failure(error))

    def _queue(self, model: Model, decoded: InferenceRequest, deadline: float, respond: Respond) -> None:
        if self._worker.pending >= MAX_QUEUED:
            respond(self._problem(503, "too many requests are waiting", RETRY_LATER))
            return
        self._metrics.in_flight += 1
        future = self._worker.submit(partial(_run, model, decoded, deadline))
        timer = asyncio.get_running_loop().call_later(max(0.0, deadline - time.monotonic()), future.cancel)
        future.add_done_callback(partial(self._finish, model, decoded, timer, respond))

    def _finish(
        self,
        model: Model,
        decoded: InferenceRequest,
        timer: asyncio.TimerHandle,
        respond: Respond,
        future: asyncio.Future[Answers],
    ) -> None:
        timer.cancel()
        self._metrics.in_flight -= 1
        error = TimeoutError() if future.cancelled() else future.exception()
        respond(self._failure(error) if error else self._encode(model, decoded, future.result()))

    def _encode(self, model: Model, decoded: InferenceRequest, answers: Answers) -> Response:
        self._metrics.rows += decoded.rows
        encoded = model.codec.encode(decoded, answers)
        if encoded.header_length is None:
            return Response(200, encoded.body, headers=self._headers)
        split = b"Inference-Header-Content-Length: %d\r\n" % encoded.header_length
        return Response(200, encoded.body, b"application/octet-stream", self._headers + split)

    def _failure(self, error: BaseException) -> Response:
        if isinstance(error, TimeoutError):
            return self._problem(504, f"the request was not answered within {self._timeout_seconds:g} s")
        _log.error("the model failed", exc_info=error)
        return self._problem(500, "the model failed on this request")

    def _problem(self, status: int, message: str, headers: bytes = b"") -> Response:
        return problem(status, message, self._headers + headers)


def _run(model: Model, decoded: InferenceRequest, deadline: float) -> Answers:
    """Run the model, unless the deadline has passed already (TimeoutError): a run cannot be stopped."""
    if time.monotonic() >= deadline:
        raise TimeoutError
    return model.session.run(decoded.inputs, decoded.rows, [output.name for output in decoded.outputs])
