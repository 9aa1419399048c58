"""Fuzz the real server along its OpenAPI document: `python -m tests.contract.serving.api_fuzz --seconds 600`."""

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.contract.serving.fuzz import start
from tests.contract.serving.server_process import ServerProcess

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
"""All that apply. Valid data may be refused: no schema can say that `shape` and `data` must fit."""


def run_schemathesis(server: ServerProcess, folder: Path, *, seed: int, examples: int, seconds: int | None) -> str:
    """Run schemathesis against the server's own document and return what it prints.

    Args:
        folder: Where it may write.
        examples: Of each operation, at most.
        seconds: Go on with further examples until this time is over.
    """
    command: list[str | Path] = [
        Path(sys.executable).parent / "schemathesis",
        "run",
        f"http://127.0.0.1:{server.port}/openapi.json",
    ]
    command += [f"--seed={seed}", f"--max-examples={examples}", f"--checks={','.join(CHECKS)}"]
    command += ["--phases=examples,coverage,fuzzing", "--continue-on-failure", "--no-color"]
    if seconds is not None:
        command.append(f"--max-time={seconds}")
    finished = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60 + 2 * (seconds or 0),
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def main() -> None:
    from tests.contract.serving.small_model import write_small_model  # noqa: PLC0415 - scikit-learn is slow to import

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_small_model(folder / "model")
        server = start(folder / "model", folder)
        try:
            print(  # noqa: T201
                run_schemathesis(server, folder, seed=arguments.seed, examples=10_000, seconds=arguments.seconds)
            )
            assert server.process.poll() is None
            errors = [line for line in server.log() if line["level"] in {"error", "critical"}]
            assert not errors, errors[:3]
        finally:
            server.stop()


if __name__ == "__main__":
    main()
