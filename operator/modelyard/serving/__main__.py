"""`python -m modelyard.serving`: serve the model that the environment names."""

import logging
import os
import sys
from pathlib import Path

import uvloop

from modelyard.serving.errors import StartError
from modelyard.serving.lifecycle import serve
from modelyard.serving.logs import set_up_logging
from modelyard.serving.settings import SettingsError, read_settings
from modelyard.serving.termination import write_termination_message

_log = logging.getLogger("modelyard.serving")


def main() -> int:
    """Serve, and return the exit code: 0 after a drain, 1 when the start could not succeed."""
    set_up_logging()
    try:
        uvloop.run(serve(read_settings(os.environ)))
    except SettingsError as error:
        return _fail("InvalidSettings", str(error))
    except StartError as error:
        return _fail(error.reason, str(error))
    return 0


def _fail(reason: str, message: str) -> int:
    _log.error("cannot start", extra={"reason": reason, "problem": message})
    path = Path(os.environ.get("MODELYARD_TERMINATION_LOG", "/dev/termination-log"))
    try:
        write_termination_message(path, reason, message)
    except OSError as error:
        _log.warning("no termination message could be written", extra={"problem": str(error)})
    return 1


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # a model run cannot be stopped, and the interpreter would wait for its thread
