from prometheus_client import generate_latest

from modelyard.agent.metrics import MAX_RUNS, Metrics

SAID = {"step": "train", "attempt": 1, "percentage": 42, "metrics": [{"name": "loss", "value": "0.5"}]}


def shown(metrics: Metrics) -> list[str]:
    text = generate_latest(metrics.registry).decode()
    return [line for line in text.splitlines() if line.startswith("modelyard_step_")]


def test_progress_is_shown_as_long_as_the_step_runs() -> None:
    metrics = Metrics()
    metrics.progress.show("nightly", SAID)
    assert shown(metrics) == [
        'modelyard_step_progress_ratio{run="nightly",step="train"} 0.42',
        'modelyard_step_metric{metric="loss",run="nightly",step="train"} 0.5',
    ]
    metrics.progress.show("nightly", None)
    assert shown(metrics) == []


def test_runs_that_are_shown_are_bounded() -> None:
    metrics = Metrics()
    for number in range(MAX_RUNS + 5):
        metrics.progress.show(f"run-{number}", {**SAID, "metrics": []})
    assert len(shown(metrics)) == MAX_RUNS
