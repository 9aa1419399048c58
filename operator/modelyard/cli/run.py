"""Running a TrainingRun on this machine."""

import importlib.util
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from modelyard.api.v1alpha1 import TrainingRun
from modelyard.api.v1alpha1.names import MODEL_OUTPUT
from modelyard.cli.run_display import BarDisplay, PlainDisplay
from modelyard.local.events import Listener
from modelyard.local.manifest import RunError, parse_pairs, read_run
from modelyard.local.plan import Runner, check_steps
from modelyard.local.result import Outcome
from modelyard.local.runner import Options, Session
from modelyard.local.store import LocalStore, local_uri
from modelyard.manifests.documents import ManifestError, parse_documents
from modelyard.storage.errors import StorageError

_PACKAGES: Final = ("numpy", "obstore", "onnx", "onnxruntime", "pandas", "pyarrow", "sklearn")
_ENGINES: Final = ("docker", "podman")


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    file: Path
    parameters: Sequence[str]
    inputs: Sequence[str]
    store: Path
    runner: Runner
    keep: bool


def run_file(request: Request, *, quiet: bool) -> Outcome:
    """Run the TrainingRun of a file to its end. Ctrl-C and SIGTERM stop its step and end it.

    Args:
        request: what to run.
        quiet: plain lines to standard error, even on a terminal.

    Raises:
        RunError: it cannot be run as it is asked for, or an input cannot be read.
    """
    run = _read(request)
    folder = request.file.resolve().parent
    check_steps(run, request.runner, folder)
    _require_packages()
    engine = _engine() if request.runner is Runner.CONTAINER else ""
    options = Options(folder=folder, runner=request.runner, engine=engine, keep=request.keep)
    stopped = _stop_flag()
    try:
        return _shown(run, LocalStore(request.store), options, stopped, quiet=quiet)
    except StorageError as error:
        raise RunError(str(error)) from None


def _read(request: Request) -> TrainingRun:
    try:
        documents = list(parse_documents(request.file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{request.file}: cannot be read: {error}") from None
    except ManifestError as error:
        raise RunError(f"{request.file}:{error.line}: {error}") from None
    parameters = parse_pairs("--parameter", request.parameters)
    inputs = {name: local_uri(Path(path)) for name, path in parse_pairs("--input", request.inputs).items()}
    try:
        return read_run(documents, parameters, inputs, str(uuid.uuid4()))
    except RunError as error:
        raise RunError(f"{request.file}: {error}") from None


def _shown(
    run: TrainingRun, store: LocalStore, options: Options, stopped: Callable[[], bool], *, quiet: bool
) -> Outcome:
    def execute(listener: Listener) -> Outcome:
        return Session(run, store, options, listener, stopped).execute()

    console = Console(stderr=True, highlight=False)
    if quiet or not console.is_terminal:
        return execute(PlainDisplay(sys.stderr))
    registered = any(MODEL_OUTPUT in step.outputs for step in run.spec.steps)
    with BarDisplay(console, len(run.spec.steps) + registered) as bars:
        return execute(bars)


def _stop_flag() -> Callable[[], bool]:
    """Return what says whether Ctrl-C or SIGTERM came."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: asked.append(got))
    return lambda: bool(asked)


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"running needs further packages: pip install 'modelyard[training]' (no {', '.join(missing)})")


def _engine() -> str:
    for name in _ENGINES:
        if shutil.which(name):
            return name
    raise RunError(f"--runner container needs {' or '.join(_ENGINES)}, and neither is on the PATH")
