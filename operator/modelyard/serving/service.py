"""The application behind the HTTP port: the Open Inference Protocol's endpoints for one model."""

import asyncio
from typing import Any, Final

from typing_extensions import override

from modelyard import __version__
from modelyard.serving.http import Application
from modelyard.serving.inference import Inference
from modelyard.serving.messages import RETRY_LATER, Request, Respond, Response, json_response, problem
from modelyard.serving.metrics import OTHER, Metrics
from modelyard.serving.models import Model
from modelyard.serving.openapi import api_document
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.profile import Profile
from modelyard.serving.routes import Endpoint, Routes
from modelyard.serving.settings import Settings
from modelyard.serving.worker import Worker

PROFILE_SECONDS: Final = 1.0
_INFER: Final = Endpoint.INFER  # looking an enumeration's member up takes time
STUCK_SECONDS: Final = 60.0
"""A run that is longer than the request timeout by this much will never end."""


class Service(Application):
    """Answers requests. Until `serve` is called it is live but not ready.

    Attributes:
        profile: Of what the present model was asked and answered.
    """

    def __init__(self, settings: Settings, metrics: Metrics, worker: Worker, log: PredictionLog | None = None) -> None:
        self._settings = settings
        self._name, self._version = settings.model_name, settings.model_version
        self._stuck_seconds = settings.timeout_seconds + STUCK_SECONDS
        self._metrics = metrics
        self._worker = worker
        self._log = log
        self._routes = Routes(self._name, self._version)
        self._headers = f"X-Modelyard-Model: {self._name}/{self._version}\r\n".encode()
        self._inference: Inference | None = None
        self.profile: Profile | None = None
        self._api: Response | None = None
        self._draining = False

    @property
    def model(self) -> Model | None:
        """The model that answers now."""
        return None if self._inference is None else self._inference.model

    def serve(self, model: Model) -> None:
        """From now on answer with this model. Requests that wait for the one before get its answers.

        Raises:
            StartError: The prediction log is to have a column that the model has not.
        """
        if self._log is not None:
            self._log.check(model.signature)
        if self._inference is not None:
            self._metrics.swaps += 1
        settings = self._settings
        self.profile = None
        if settings.profile:
            self.profile = Profile(model.signature, model.baseline, settings.identity | {"digest": model.digest})
        self._inference = Inference(
            model,
            settings.timeout_seconds,
            self._headers,
            self._metrics,
            self._worker,
            profile=self.profile,
            log=self._log,
        )
        self._api = None

    def profile_snapshot(self) -> dict[str, Any] | None:
        """Return the counts of the present model's profile."""
        return None if self.profile is None else self.profile.snapshot(self._metrics.invalid_values)

    async def tick_profile(self) -> None:
        """Keep the profile up to date; never ends."""
        while True:
            await asyncio.sleep(PROFILE_SECONDS)
            if self.profile:
                self.profile.tick()

    def drain(self) -> None:
        """From now on say that the server is not ready, but go on answering."""
        self._draining = True

    @override
    def observe(self, target: bytes, status: int, seconds: float) -> None:
        endpoint = self._routes.find(target)
        label = endpoint.value if endpoint else OTHER
        self._metrics.observe(label, status, seconds, timed=endpoint is _INFER)

    @override
    def answer(self, request: Request, respond: Respond) -> None:
        endpoint = self._routes.find(request.target)
        if endpoint is _INFER and request.method == b"POST":
            if self._inference is None:
                respond(_loading())
            else:
                self._inference.answer(request, respond)
        elif endpoint is None or not endpoint.allows(request.method):
            respond(self._routes.refuse(endpoint, request.target))
        else:
            respond(self._describe(endpoint))

    def _describe(self, endpoint: Endpoint) -> Response:
        ready = self.model is not None and not self._draining
        match endpoint:
            case Endpoint.LIVE:
                live = self.model is None or self._worker.running_seconds() < self._stuck_seconds
                return json_response({"live": live}, 200 if live else 503)
            case Endpoint.READY:
                return json_response({"ready": ready}, 200 if ready else 503)
            case Endpoint.MODEL_READY:
                return json_response({"name": self._name, "ready": ready}, 200 if ready else 503)
            case Endpoint.MODEL_METADATA:
                return self._describe_model()
            case Endpoint.OPENAPI:
                return self._describe_api()
            case _:
                return json_response(
                    {"name": "modelyard", "version": __version__, "extensions": ["binary_tensor_data"]}
                )

    def _describe_model(self) -> Response:
        if self.model is None:
            return _loading()
        signature = self.model.signature
        tensors = {
            key: [{"name": t.name, "datatype": t.datatype, "shape": t.shape} for t in tensors]
            for key, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs))
        }
        identity = {"name": self._name, "versions": [self._version], "platform": "onnxruntime_onnx"}
        return json_response(identity | tensors, headers=self._headers)

    def _describe_api(self) -> Response:
        if self.model is None:
            return _loading()
        if self._api is None:
            document = api_document(self._name, self._version, self.model.signature, self._settings.max_rows)
            self._api = json_response(document, headers=self._headers)
        return self._api


def _loading() -> Response:
    return problem(503, "the model is being loaded", RETRY_LATER)
