import importlib.util
import json
import shlex
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from modelyard.cli.serve import Options, ServeError, curl_line, first_example, require_server_packages
from modelyard.model import Datatype, Example, Tensor
from modelyard.serving.settings import read_settings


def options(address: str = "127.0.0.1") -> Options:
    return Options(folder=Path("/m"), name="flights", version=3, address=address, port=8080)


def example(rows: int) -> Example:
    tensor = Tensor(name="it's", shape=(rows, 2), datatype=Datatype.FP32, data=(1.5, None) * rows)
    return Example(inputs=(tensor,), outputs=(tensor,))


def test_environment_is_what_the_server_reads() -> None:
    settings = read_settings(options().environment())
    assert (settings.model_dir, settings.model_name, settings.model_version) == (Path("/m"), "flights", "3")
    assert (settings.address, settings.http_port, settings.model_digest) == ("127.0.0.1", 8080, None)


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_url_is_that_of_the_model(address: str, host: str) -> None:
    assert options(address).url(81) == f"http://{host}:81/v2/models/flights"


@pytest.mark.parametrize(("rows", "asked"), [(1, 1), (32, 32), (33, 1)])
def test_curl_line_is_safe_in_a_shell_and_short(rows: int, asked: int) -> None:
    curl, url, flag, body = shlex.split(curl_line("http://h/v2/models/m", example(rows)))
    assert (curl, url, flag) == ("curl", "http://h/v2/models/m/infer", "-d")
    (tensor,) = json.loads(body)["inputs"]
    assert tensor == {"name": "it's", "shape": [asked, 2], "datatype": "FP32", "data": [1.5, None] * asked}


@pytest.mark.parametrize("content", [None, "{}"])
def test_folder_without_examples_is_no_model_directory(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "examples.json").write_text(content)
    with pytest.raises(ServeError, match=r"is not a model directory: examples\.json"):
        first_example(tmp_path)


def test_missing_packages_of_the_server_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_server_packages()
    found = importlib.util.find_spec

    def without_onnxruntime(name: str) -> ModuleSpec | None:
        return None if name == "onnxruntime" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", without_onnxruntime)
    with pytest.raises(ServeError, match=r"pip install 'modelyard\[server\]' \(no onnxruntime\)"):
        require_server_packages()
