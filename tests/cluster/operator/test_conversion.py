"""A registered pickle on a real API server: one Job, admitted as restricted, gone when it is done."""

from typing import Any

import pytest

from tests.cluster.operator.api import Manifest
from tests.cluster.operator.conftest import Stage
from tests.cluster.operator.nodes import DIGEST, published

pytestmark = pytest.mark.cluster

DIGITS = "b" * 64
JOB = "delay-v1-convert-1"


def converted(job: Manifest) -> Manifest:
    """The answer of a conversion."""
    metrics = [{"name": "maximumDifference", "value": "0.0000001"}, {"name": "rows", "value": "300"}]
    return {**published(job), "metrics": metrics}


@pytest.fixture
def registered(stage: Stage) -> Stage:
    artifact = {"uri": f"s3://yard/air/blobs/sha256/{DIGITS}", "digest": f"sha256:{DIGITS}"}
    stage.nodes.answer = converted
    stage.apply("ModelVersion", "delay-v1", model="delay", version=1, format="Pickle", artifact=artifact)
    stage.apply("Deployment", "delay", model={"name": "delay", "version": 1})
    return stage


def made(stage: Stage) -> list[str]:
    """The Jobs that the operator has made, by its own account."""
    jobs = (r for r in stage.records() if r["verb"] == "create" and r["objectRef"]["resource"] == "jobs")
    return [r["objectRef"]["name"] for r in jobs if r["responseStatus"]["code"] == 201]


def digest_served(stage: Stage) -> str | None:
    model: dict[str, Any] | None = stage.api.get("Deployment", "delay").get("status", {}).get("model")
    return model["digest"] if model else None


def test_pickle_is_converted_once_and_served_by_its_onnx_form(registered: Stage) -> None:
    registered.nodes.held = JOB
    operator = registered.start()
    registered.until(lambda: registered.ready("Deployment", "delay") == "!Converting", "the Deployment to wait")
    registered.until(lambda: registered.api.names("Job") == [JOB], "the Job")
    assert registered.api.names("Workload") == []

    registered.nodes.held = ""
    registered.until(lambda: digest_served(registered) == DIGEST, "the converted model to serve")
    conversion = registered.api.get("ModelVersion", "delay-v1")["status"]["conversion"]
    assert (conversion["artifact"]["digest"], conversion["rows"]) == (DIGEST, 300)
    registered.until(lambda: registered.api.names("Job") == [], "the Job to go")
    registered.until(lambda: registered.ready("Deployment", "delay") == "Serving", "the Deployment to be ready")
    assert made(registered) == [JOB]
    registered.assert_converged(operator)


def test_refused_pickle_stays_refused(registered: Stage) -> None:
    registered.nodes.failures[JOB] = {"reason": "OutputRefused", "message": "a link"}
    operator = registered.start()
    registered.until(lambda: registered.ready("ModelVersion", "delay-v1") == "!ConversionFailed", "the refusal")
    registered.until(lambda: registered.ready("Deployment", "delay") == "!NotConverted", "the Deployment to say so")
    assert made(registered) == [JOB]
    registered.assert_converged(operator)


def test_operator_that_is_killed_makes_no_second_job(registered: Stage) -> None:
    """Whatever it had not recorded, its successor finds by name."""
    registered.nodes.held = JOB
    first = registered.start()
    registered.until(lambda: registered.api.names("Job"), "the Job")
    first.kill()
    registered.nodes.held = ""
    registered.nodes.step()
    registered.start()
    registered.until(lambda: registered.ready("ModelVersion", "delay-v1") == "Available", "the conversion")
    assert made(registered) == [JOB]
