"""`modelyard serve` and `modelyard predict`, as a person types them, with the real server."""

import csv
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from modelyard.cli.predict import ATTEMPTS, ModelClient, PredictError
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors
from tests.support.waiting import wait_until

SECONDS = 30.0
COMMAND = (sys.executable, "-m", "modelyard.cli.main")
HEADER = "distance,hour,carrier,origin"
LINES = ["1400,7,AA,EWR", "762.5,21,ÜA,JFK", ",18,B6,LGA"]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


class Served:
    """`modelyard serve` as a child."""

    def __init__(self, logs: Path, *arguments: object) -> None:
        self._out = logs / "out"
        self.log = logs / "log"
        with self._out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen([*COMMAND, "serve", *map(str, arguments)], stdout=out, stderr=log)

    @property
    def shown(self) -> str:
        return self._out.read_text()

    def wait_shown(self, text: str) -> str:
        wait_until(
            lambda: text in self.shown or self.process.poll() is not None, seconds=SECONDS, what=f"'{text}' to be shown"
        )
        assert text in self.shown, self.log.read_text()
        return self.shown

    @property
    def url(self) -> str:
        found = re.search(r"http://\S+", self.wait_shown("curl"))
        assert found
        return found[0]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)


@pytest.fixture
def served(own_model_dir: Path, tmp_path: Path) -> Iterator[Served]:
    child = Served(tmp_path, own_model_dir, "--port", 0, "--name", "flights")
    yield child
    child.kill()


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([HEADER, *LINES]))
    return file


@pytest.fixture
def url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}/v2/models/flight-delay"


def expected(server: ServerProcess) -> list[list[float]]:
    label, probabilities = server.infer({"inputs": request_tensors(EXAMPLE_ROWS)}).json["outputs"]
    return [[one, *probabilities["data"][2 * row : 2 * row + 2]] for row, one in enumerate(label["data"])]


def read(text: str) -> tuple[list[str], list[list[float]]]:
    header, *rows = csv.reader(text.splitlines())
    return header, [[float(value) for value in row] for row in rows]


# serve


def test_serve_prints_a_url_and_a_curl_line_that_works(served: Served) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    line = served.shown.splitlines()[-1]
    answer = subprocess.run(["bash", "-c", f"{line} --silent"], capture_output=True, timeout=SECONDS, check=True)
    assert json.loads(answer.stdout)["model_name"] == "flights"
    assert json.loads(answer.stdout)["model_version"] == "1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_when_asked_and_leaves_nothing_behind(served: Served, number: signal.Signals) -> None:
    port = int(served.url.split(":")[2].split("/")[0])
    assert served.end(number) == 0
    with pytest.raises(PredictError, match="does not answer"):
        ModelClient(f"http://127.0.0.1:{port}/v2/models/flights", lambda _: None).tensors()


def test_serve_loads_the_folder_again_on_sighup(served: Served, own_model_dir: Path) -> None:
    assert served.url
    file = own_model_dir / "baseline.json"
    file.write_text(json.dumps({"schema": "modelyard.dev/baseline/v1", "rows": 401}))
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "model replaced" in served.log.read_text(), seconds=SECONDS, what="the model to be replaced")
    assert served.process.poll() is None


def test_serve_says_why_it_cannot(own_model_dir: Path, tmp_path: Path) -> None:
    (own_model_dir / "model.onnx").write_bytes(b"no model")
    finished = run("serve", own_model_dir, "--port", 0)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith("error: InvalidModel: ")
    assert "is not a model directory" in run("serve", tmp_path).stderr


# predict


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_predict_writes_the_answer_of_each_row(server: ServerProcess, url: str, rows_file: Path, rows: int) -> None:
    finished = run("predict", url, "-f", rows_file, "--rows", rows if rows < 8 else 8)
    assert finished.returncode == 0, finished.stderr
    header, answers = read(finished.stdout)
    assert header == ["label", "probabilities_0", "probabilities_1"]
    for answer, wanted in zip(answers, expected(server), strict=True):
        assert answer == pytest.approx(wanted, rel=1e-5)


def test_predict_writes_a_file_only_when_all_is_well(url: str, rows_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    output.write_text("before")
    rows_file.write_text("\n".join([HEADER, *LINES, "far,1,AA,EWR"]))
    failed = run("predict", f"{url}/versions/7", "-f", rows_file, "-o", output, "--rows", 1)
    assert (failed.returncode, output.read_text()) == (2, "before")
    assert "row 4, column 'distance': must be a number, got 'far'" in failed.stderr
    rows_file.write_text("\n".join([HEADER, *LINES]))
    assert run("predict", f"{url}/versions/7", "-f", rows_file, "-o", output).returncode == 0
    assert len(read(output.read_text())[1]) == 3
    assert {file.name for file in tmp_path.iterdir()} == {"answers.csv", "rows.csv"}


def test_predict_of_no_rows_writes_the_header(url: str, rows_file: Path) -> None:
    rows_file.write_text(HEADER)
    assert run("predict", url, "-f", rows_file).stdout == "label,probabilities_0,probabilities_1\n"


def test_predict_says_what_is_wrong(url: str, rows_file: Path) -> None:
    def problem(*arguments: object) -> str:
        finished = run("predict", *arguments)
        assert finished.returncode == 2
        return finished.stderr

    assert "must be the URL of a model" in problem("localhost:8080", "-f", rows_file)
    assert "answers 404: not found: the only model here is 'flight-delay'" in problem(f"{url}x", "-f", rows_file)
    rows_file.write_text("hour,carrier\n1,AA\n")
    assert "columns are missing: 'distance', 'origin'; the file has 'hour', 'carrier'" in problem(url, "-f", rows_file)
    rows_file.write_text(f"{HEADER}\n1,,AA,EWR\n")
    refused = problem(url, "-f", rows_file)
    assert "rows 1 to 1: " in refused
    assert "answers 400: inputs[1] 'hour'.data[0]: must be a number, got null" in refused


# A server that is overloaded, which the real one is not on demand.


@dataclass
class Overloaded:
    url: str
    asked: list[str]


@pytest.fixture
def overloaded(request: pytest.FixtureRequest) -> Iterator[Overloaded]:
    statuses: Sequence[int] = request.param
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = statuses[min(len(asked), len(statuses) - 1)]
            asked.append(self.path)
            body = json.dumps({"inputs": [], "outputs": []} if status == 200 else {"error": "too much to do"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "3")
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield Overloaded(f"http://127.0.0.1:{listener.server_port}/v2/models/m", asked)
        listener.shutdown()
        thread.join(SECONDS)


@pytest.mark.parametrize("overloaded", [(503, 503, 200)], indirect=True)
def test_predict_comes_again_when_the_server_says_so(overloaded: Overloaded) -> None:
    pauses: list[float] = []
    with ModelClient(overloaded.url, pauses.append) as client:
        assert client.tensors() == ([], [])
    assert overloaded.asked == ["/v2/models/m"] * 3
    assert len(pauses) == 2
    assert all(3 <= pause <= 10 for pause in pauses)


@pytest.mark.parametrize("overloaded", [(503,)], indirect=True)
def test_predict_does_not_come_for_ever(overloaded: Overloaded) -> None:
    pauses: list[float] = []
    with ModelClient(overloaded.url, pauses.append) as client, pytest.raises(PredictError, match="too much to do"):
        client.tensors()
    assert len(overloaded.asked) == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1


@pytest.mark.parametrize("overloaded", [(504,)], indirect=True)
def test_predict_does_not_ask_twice_what_took_too_long(overloaded: Overloaded) -> None:
    with ModelClient(overloaded.url) as client, pytest.raises(PredictError, match="answers 504: too much to do"):
        client.tensors()
    assert len(overloaded.asked) == 1
