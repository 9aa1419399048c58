"""The infer endpoint: decode, queue for a run, encode."""

import asyncio
import gzip
import logging
from functools import partial
from typing import Final

from modelyard.serving.answers import Answer
from modelyard.serving.batching import Batcher, OverloadedError, Waiting
from modelyard.serving.decoding import BadRequestError, InferenceRequest, InvalidValueError
from modelyard.serving.messages import RETRY_LATER, TRACEPARENT, Request, Respond, Response, problem
from modelyard.serving.metrics import Metrics
from modelyard.serving.models import Model
from modelyard.serving.prediction_id import new_prediction_id
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.profile import Profile
from modelyard.serving.runs import Outcome
from modelyard.serving.worker import Worker

_ENCODING: Final = b"content-encoding"
_BINARY: Final = b"application/octet-stream"
_COMPRESS_FROM: Final = 1400
"""Bytes: what fits into one packet does not arrive sooner for being smaller."""
_COMPRESSION_LEVEL: Final = 1

_log = logging.getLogger(__name__)


class Inference:
    """Answers the inference requests of one model.

    Args:
        headers: Header lines of every answer.
    """

    def __init__(
        self,
        model: Model,
        timeout_seconds: float,
        headers: bytes,
        metrics: Metrics,
        worker: Worker,
        *,
        profile: Profile | None,
        log: PredictionLog | None,
    ) -> None:
        self.model = model
        self._timeout_seconds = timeout_seconds
        self._headers = headers
        self._metrics = metrics
        self._log = log
        self._batcher = Batcher(model, worker, metrics, profile, asyncio.get_running_loop())

    def answer(self, http: Request, respond: Respond) -> None:
        """Answer a request when its run is done, or at once when it cannot be run."""
        if _ENCODING in http.headers and http.headers[_ENCODING].lower() != b"identity":
            respond(self._problem(415, "Content-Encoding: compressed requests are not supported", http))
            return
        try:
            request = self.model.decoder.decode(http.body, http.headers)
            deliver = partial(self._deliver, http, request, respond)
            self._batcher.submit(Waiting(request, http.received, http.received + self._timeout_seconds, deliver))
        except BadRequestError as error:
            respond(self._bad_request(error, http))
        except OverloadedError:
            respond(self._problem(503, "too many requests are waiting", http, RETRY_LATER))

    def _deliver(self, http: Request, request: InferenceRequest, respond: Respond, outcome: Outcome) -> None:
        try:
            response = self._response(http, request, outcome)
        except Exception as error:  # noqa: BLE001 - others wait for their part of the same run
            response = self._failure(http, error)
        respond(response)

    def _response(self, http: Request, request: InferenceRequest, outcome: Outcome) -> Response:
        if not isinstance(outcome, Answer):
            return self._failure(http, outcome)
        self._metrics.rows += request.rows
        if self._log is not None and self._log.sampled():
            self._note(self._log, request, outcome)
        body, header_length = self.model.encoder.encode(request, outcome)
        headers = self._headers + http.trace_header() if TRACEPARENT in http.headers else self._headers
        response = Response(200, body, headers=headers)
        if header_length is not None:
            response.content_type = _BINARY
            response.headers += b"Inference-Header-Content-Length: %d\r\n" % header_length
        elif len(body) >= _COMPRESS_FROM and http.accepts_gzip():
            response.body = gzip.compress(body, _COMPRESSION_LEVEL, mtime=0)
            response.headers += b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        return response

    def _note(self, log: PredictionLog, request: InferenceRequest, answer: Answer) -> None:
        """Log an answer. It gets an id if it has none, so that what turns out later can be told of it."""
        if request.id is None:
            request.id = new_prediction_id()
        outputs = {name: answer.array(name) for name in answer.run.outputs}
        log.add(request.id, request.inputs, outputs, request.rows, request.size)

    def _bad_request(self, error: BadRequestError, http: Request) -> Response:
        if isinstance(error, InvalidValueError):
            self._metrics.invalid_values[error.feature, error.kind] += 1
        return self._problem(400, str(error), http)

    def _failure(self, http: Request, error: Exception) -> Response:
        if isinstance(error, BadRequestError):
            return self._bad_request(error, http)
        if isinstance(error, TimeoutError):
            return self._problem(504, f"the request was not answered within {self._timeout_seconds:g} s", http)
        _log.error("the model failed", exc_info=error, extra={"trace_id": http.trace_id()})
        return self._problem(500, "the model failed on this request", http)

    def _problem(self, status: int, message: str, http: Request, headers: bytes = b"") -> Response:
        return problem(status, message, self._headers + http.trace_header() + headers)
