"""The metrics page, read as Prometheus reads it."""

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.serving.conftest import StartServer
from tests.contract.serving.server_process import ServerProcess
from tests.contract.serving.small_model import EXAMPLE_ROWS, request_tensors

OWN = {"deployment": "flights", "model_version": "7", "track": "stable"}


@pytest.fixture
def used_server(start_server: StartServer) -> ServerProcess:
    server = start_server().wait_ready()
    assert server.infer({"inputs": request_tensors(EXAMPLE_ROWS)}).status == 200
    assert server.infer({"inputs": request_tensors(EXAMPLE_ROWS)}).status == 200
    assert server.infer(b"{").status == 400
    assert server.request("GET", "/v2/health/ready").status == 200
    assert server.request("GET", "/elsewhere").status == 404
    return server


def samples(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_metrics_count_requests_rows_and_durations(used_server: ServerProcess) -> None:
    answer = used_server.request("GET", "/metrics", port=used_server.metrics_port)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.body.decode())

    def value(name: str, **labels: str) -> float | None:
        return found.get((name, frozenset({**OWN, **labels}.items())))

    requests = "modelyard_inference_requests_total"
    assert value(requests, endpoint="infer", code="200") == 2
    assert value(requests, endpoint="infer", code="400") == 1
    assert value(requests, endpoint="ready", code="200") == 1
    assert value(requests, endpoint="other", code="404") == 1
    assert value("modelyard_inference_rows_total") == 6
    assert value("modelyard_inference_in_flight") == 0
    duration = "modelyard_inference_request_duration_seconds"
    assert value(f"{duration}_count", endpoint="infer", outcome="ok") == 2
    assert value(f"{duration}_count", endpoint="infer", outcome="client_error") == 1
    assert value(f"{duration}_count", endpoint="infer", outcome="server_error") == 0
    assert value(f"{duration}_bucket", endpoint="infer", outcome="ok", le="+Inf") == 2
    assert value(f"{duration}_bucket", endpoint="infer", outcome="ok", le="0.0005") is not None
    seconds = value(f"{duration}_sum", endpoint="infer", outcome="ok")
    assert seconds is not None
    assert 0 < seconds < 5
    info = [labels for name, labels in found if name == "modelyard_model_info"]
    assert [set(dict(labels)) for labels in info] == [{*OWN, "model", "digest", "format"}]
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_metrics_speak_openmetrics_when_asked(used_server: ServerProcess) -> None:
    answer = used_server.request(
        "GET",
        "/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        port=used_server.metrics_port,
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(answer.body.decode())  # type: ignore[no-untyped-call]
    assert "modelyard_inference_requests" in {family.name for family in families}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405)])
def test_metrics_port_has_nothing_else(server: ServerProcess, method: str, path: str, status: int) -> None:
    assert server.request(method, path, port=server.metrics_port).status == status
