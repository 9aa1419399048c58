"""Another model in place of the served one, without a request noticing."""

import asyncio
import logging

from modelyard.serving.errors import StartError
from modelyard.serving.loader import load_model
from modelyard.serving.service import Service
from modelyard.serving.settings import Settings

_log = logging.getLogger(__name__)


async def reload_when_asked(asked: asyncio.Event, settings: Settings, service: Service) -> None:
    """Load what the model directory holds whenever `asked` is set, and serve it if it is good; never ends."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            # Not in the worker: requests that wait for it would wait for the load too.
            model = await asyncio.to_thread(load_model, settings)
            service.serve(model)
        except StartError as error:
            _log.error(
                "the model stays, its successor is refused", extra={"reason": error.reason, "problem": str(error)}
            )
        else:
            _log.info("model replaced", extra={"digest": model.digest})
