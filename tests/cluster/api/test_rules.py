"""Each CEL rule with an object that it lets pass and one that it refuses, for that reason alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typing_extensions import override

from modelyard.api.schema import custom_resource_definition
from modelyard.api.v1alpha1 import KINDS
from modelyard.api.v1alpha1.trainingrun import Metric
from tests.cluster.api.conftest import RefusedError, Resources
from tests.cluster.api.objects import DIGEST, FULL, MINIMAL, Object, merged

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Case:
    """A rule, by where it stands and its message; merge patches of the smallest object that keep and break it."""

    kind: str
    path: str
    message: str
    passing: Object
    failing: Object

    @override
    def __str__(self) -> str:
        return f"{self.kind}.{self.path} {self.message}"


def _steps(*steps: Object, **spec: Any) -> Object:
    return {"spec": {"steps": list(steps), **spec}}


def _step(name: str = "s", **fields: Any) -> Object:
    return {"name": name, "image": "i", **fields}


def _expecting(**expectations: Any) -> Object:
    return {"spec": {"inputs": [{"name": "data", "uri": "s3://b/d", "expectations": expectations}]}}


def _column(**fields: Any) -> Object:
    return _expecting(columns=[{"name": "c", **fields}])


def _labels(key: str) -> Object:
    return {"podTemplate": {"labels": {key: "v"}}}


BUILT_IN = {"name": "prepare", "uses": "tabular/prepare@v1"}
LAKE = {"name": "lake", "uri": "s3://b/lake/", "mode": "Reference"}
MODEL_STEP = _step("train", outputs=["model"])
EVALUATION = {"dataset": "model/test", "metric": "rocAuc", "goal": "Maximize"}
BY_STEP = {"by": "Step", "metric": "ndcg@10", "goal": "Maximize"}
METRICS = ", ".join(metric.value for metric in Metric)
THRESHOLD = {"metric": "rocAuc"}
STEP_ACCESS = {"name": "modelyard-step-tracker"}
SLICE = {"column": "carrier", "maximumRegression": "0.02"}
LABELS = "must not set labels in the domains 'modelyard.dev', 'kubernetes.io' or 'k8s.io'"
BLOB = f"s3://bucket/blobs/sha256/{DIGEST[7:]}"

WATCHED = (
    "must name in `triggers.inputs.names` only entries of `template.spec.inputs` without a `digest`, "
    "of which there must be one"
)
RUN_LABELS = "must have names of labels as keys, and none in the domains 'modelyard.dev', 'kubernetes.io' or 'k8s.io'"
FILLED_IN = "must not set `trigger`, which each run gets, or `requestedBy`, which stands in the Pipeline's own spec"
SHORT = "must have a name of at most 31 characters without dots, so that the names of its runs' Jobs fit"


def _inputs(*inputs: Object, **trigger: Any) -> Object:
    return {"spec": {"triggers": {"inputs": trigger}, "template": {"spec": {"inputs": list(inputs)}}}}


def _run(**spec: Any) -> Object:
    return {"spec": {"template": {"spec": spec}}}


def _run_labels(key: str) -> Object:
    return {"spec": {"template": {"metadata": {"labels": {key: "v"}}}}}


DATA = {"name": "data", "uri": "s3://b/d"}
PINNED = {"name": "pinned", "uri": "s3://b/p", "digest": DIGEST}

CASES = [
    Case("Pipeline", "", SHORT, {"metadata": {"name": "p" * 31}}, {"metadata": {"name": "p" * 32}}),
    Case("Pipeline", "", SHORT, {"metadata": {"name": "a-b"}}, {"metadata": {"name": "a.b"}}),
    Case("Pipeline", "spec", WATCHED, _inputs(DATA, PINNED, names=["data"]), _inputs(DATA, PINNED, names=["pinned"])),
    Case("Pipeline", "spec", WATCHED, _inputs(DATA, names=["data"]), _inputs(DATA, names=["data", "other"])),
    Case("Pipeline", "spec", WATCHED, _inputs(DATA, PINNED), _inputs(PINNED)),
    Case(
        "Pipeline",
        "spec",
        WATCHED,
        {"spec": {"triggers": {"spec": "Never"}}},
        {"spec": {"triggers": {"inputs": {}}}},
    ),
    Case("Pipeline", "spec.template", FILLED_IN, _run(seed=1), _run(requestedBy="bob@example.com")),
    Case(
        "Pipeline",
        "spec.template",
        FILLED_IN,
        _run(seed=1),
        _run(trigger={"reason": "Manual", "key": "a" * 16, "number": 1}),
    ),
    Case("Pipeline", "spec.template.metadata", RUN_LABELS, _run_labels("team"), _run_labels("not a label")),
    Case(
        "Pipeline", "spec.template.metadata", RUN_LABELS, _run_labels("example.com/x"), _run_labels("modelyard.dev/x")
    ),
    Case(
        "TrainingRun",
        "",
        "must have a name of at most 40 characters without dots, so that the names of its Jobs fit",
        {"metadata": {"name": "r" * 40}},
        {"metadata": {"name": "r" * 41}},
    ),
    Case(
        "TrainingRun",
        "",
        "must have a name of at most 40 characters without dots, so that the names of its Jobs fit",
        {"metadata": {"name": "a-b"}},
        {"metadata": {"name": "a.b"}},
    ),
    Case(
        "TrainingRun",
        "spec",
        "must name in `steps[*].inputs` only entries of `inputs`, outputs of earlier steps, or 'champion'",
        _steps(
            _step("a", inputs=["data", "champion"], outputs=["x"]),
            _step("b", inputs=["x"]),
            inputs=[{"name": "data", "uri": "s3://b/d"}],
        ),
        _steps(_step("a", inputs=["x"]), _step("b", outputs=["x"])),
    ),
    Case(
        "TrainingRun",
        "spec",
        "must name in `steps[*].inputs` only entries of `inputs`, outputs of earlier steps, or 'champion'",
        _steps(_step("a", inputs=[])),
        _steps(_step("a", inputs=["x"], outputs=["x"])),
    ),
    Case(
        "TrainingRun",
        "spec",
        "must give each output a name that no input and no other step's output has, and not 'champion'",
        _steps(_step("a", outputs=["x"]), _step("b", outputs=["y"])),
        _steps(_step("a", outputs=["x"]), _step("b", outputs=["x"])),
    ),
    Case(
        "TrainingRun",
        "spec",
        "must give each output a name that no input and no other step's output has, and not 'champion'",
        _steps(_step("a", outputs=["x"]), inputs=[{"name": "data", "uri": "s3://b/d"}]),
        _steps(_step("a", outputs=["data"]), inputs=[{"name": "data", "uri": "s3://b/d"}]),
    ),
    Case(
        "TrainingRun",
        "spec",
        "must name an output of a step in `evaluation.dataset`",
        _steps(MODEL_STEP, evaluation=EVALUATION),
        _steps(MODEL_STEP, evaluation={**EVALUATION, "dataset": "features/test"}),
    ),
    Case(
        "TrainingRun",
        "spec",
        "must have a step with the output 'model' when `evaluation` is set",
        _steps(MODEL_STEP, evaluation=EVALUATION),
        _steps(_step(outputs=["features"]), evaluation={**EVALUATION, "dataset": "features"}),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[]",
        "must not be 'champion' or 'model'",
        {"spec": {"inputs": [{"name": "models", "uri": "s3://b/d"}]}},
        {"spec": {"inputs": [{"name": "champion", "uri": "s3://b/d"}]}},
    ),
    Case(
        "TrainingRun",
        "spec.steps[]",
        "must set `image` when `numNodes` is more than 1: built-in components run in one pod",
        _steps(_step(numNodes=2)),
        _steps({"name": "s", "uses": "tabular/train@v1", "numNodes": 2}),
    ),
    Case(
        "TrainingRun",
        "spec.steps[]",
        "must set exactly one of `uses` and `image`",
        _steps({"name": "s", "uses": "tabular/train@v1"}),
        _steps({"name": "s", "uses": "tabular/train@v1", "image": "i"}),
    ),
    Case(
        "TrainingRun",
        "spec.steps[]",
        "must set exactly one of `uses` and `image`",
        _steps(_step()),
        _steps({"name": "s"}),
    ),
    Case(
        "TrainingRun",
        "spec.steps[]",
        "must set `image` when `command`, `args` or `workingDir` is set",
        _steps(_step(command=["a"], args=["b"], workingDir="/")),
        _steps({"name": "s", "uses": "tabular/train@v1", "args": ["b"]}),
    ),
    Case(
        "TrainingRun",
        "spec.steps[]",
        "must not be 'register' or 'validate', the names of the steps that Modelyard adds",
        _steps(_step("registers")),
        _steps(_step("register")),
    ),
    Case(
        "TrainingRun",
        "spec.steps[]",
        "must not be 'register' or 'validate', the names of the steps that Modelyard adds",
        _steps(_step("validated")),
        _steps(_step("validate")),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[]",
        "must not be 'previous' when `expectations` is set",
        {"spec": {"inputs": [{"name": "previous", "uri": "s3://b/d"}]}},
        {"spec": {"inputs": [{"name": "previous", "uri": "s3://b/d", "expectations": {}}]}},
    ),
    Case(
        "TrainingRun",
        "spec.inputs[]",
        "must have the `mode` Fetch when `expectations` is set, since its rows are read",
        {"spec": {"inputs": [{"name": "data", "uri": "s3://b/d", "mode": "Fetch", "expectations": {}}]}},
        {"spec": {"inputs": [{"name": "data", "uri": "s3://b/d", "mode": "Reference", "expectations": {}}]}},
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations",
        "must have a `minimumRows` of at most `maximumRows`",
        _expecting(minimumRows=2, maximumRows=2),
        _expecting(minimumRows=3, maximumRows=2),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations",
        "must set `timeColumn` and `maximumAgeSeconds` together",
        _expecting(timeColumn="t", maximumAgeSeconds=1),
        _expecting(timeColumn="t"),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations",
        "must list `columns` when `schema` is Declared",
        _expecting(schema="Declared", columns=[{"name": "a"}]),
        _expecting(schema="Declared"),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations",
        "must set `schema` when `onNewColumns` is Fail",
        _expecting(schema="SameAsPrevious", onNewColumns="Fail"),
        _expecting(onNewColumns="Fail"),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations.columns[]",
        "must have a `minimum` of at most `maximum`",
        _column(minimum="-10.5", maximum="9"),
        _column(minimum="10", maximum="9"),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations.columns[]",
        "must have the `type` Number or Integer, or none, when `minimum` or `maximum` is set",
        _column(type="Integer", minimum="1"),
        _column(type="Time", maximum="1"),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations.columns[]",
        "must have the `type` Text, Integer or Boolean, or none, when `categories` is set",
        _column(type="Text", categories=["a"]),
        _column(type="Number", categories=["1"]),
    ),
    Case(
        "TrainingRun",
        "spec.inputs[].expectations.columns[]",
        "must not set `maximumMissingPercent` when `nullable` is false, which allows no missing value",
        _column(nullable=True, maximumMissingPercent="0.5"),
        _column(nullable=False, maximumMissingPercent="0.5"),
    ),
    Case(
        "TrainingRun",
        "spec.steps[].env[]",
        "must not begin with 'MODELYARD_'",
        _steps(_step(env=[{"name": "MODEL"}])),
        _steps(_step(env=[{"name": "MODELYARD_SEED"}])),
    ),
    Case(
        "TrainingRun",
        "spec",
        "must give a step with `uses` no input with the mode 'Reference': built-in steps read files",
        _steps(_step(inputs=["lake"]), BUILT_IN, inputs=[LAKE]),
        _steps({**BUILT_IN, "inputs": ["lake"]}, inputs=[LAKE]),
    ),
    Case(
        "TrainingRun",
        "spec.steps[].envFrom[]",
        "must set exactly one of `secretRef` and `configMapRef`",
        _steps(_step(envFrom=[{"secretRef": STEP_ACCESS}, {"prefix": "DB_", "configMapRef": STEP_ACCESS}])),
        _steps(_step(envFrom=[{"secretRef": STEP_ACCESS, "configMapRef": STEP_ACCESS}])),
    ),
    Case(
        "TrainingRun",
        "spec.steps[].envFrom[]",
        "must set exactly one of `secretRef` and `configMapRef`",
        _steps(_step(envFrom=[])),
        _steps(_step(envFrom=[{"prefix": "DB_"}])),
    ),
    Case(
        "TrainingRun",
        "spec.steps[].podTemplate",
        LABELS,
        _steps(_step(**_labels("example.com/team"))),
        _steps(_step(**_labels("kueue.x-k8s.io/queue") | _labels("app.kubernetes.io/name"))),
    ),
    Case(
        "TrainingRun",
        "spec.evaluation",
        "must set `dataset` unless `by` is 'Step'",
        _steps(MODEL_STEP, evaluation=BY_STEP),
        _steps(MODEL_STEP, evaluation={"metric": "rocAuc", "goal": "Maximize"}),
    ),
    Case(
        "TrainingRun",
        "spec.evaluation",
        f"must be one of {METRICS} unless `by` is 'Step'",
        _steps(MODEL_STEP, evaluation=BY_STEP),
        _steps(MODEL_STEP, evaluation={**EVALUATION, "metric": "ndcg@10"}),
    ),
    Case(
        "TrainingRun",
        "spec.evaluation",
        f"must have in each `metric` one of {METRICS} unless `by` is 'Step'",
        _steps(MODEL_STEP, evaluation={**BY_STEP, "thresholds": [{"metric": "map", "minimum": "0.1"}]}),
        _steps(MODEL_STEP, evaluation={**EVALUATION, "thresholds": [{"metric": "map", "minimum": "0.1"}]}),
    ),
    Case(
        "TrainingRun",
        "spec.evaluation",
        "must set neither `minimumRows` nor `slices` when `by` is 'Step': Modelyard sees none of its rows",
        _steps(MODEL_STEP, evaluation={**EVALUATION, "minimumRows": 5}),
        _steps(MODEL_STEP, evaluation={**BY_STEP, "minimumRows": 5}),
    ),
    Case(
        "TrainingRun",
        "spec.evaluation",
        "must set neither `minimumRows` nor `slices` when `by` is 'Step': Modelyard sees none of its rows",
        _steps(MODEL_STEP, evaluation={**EVALUATION, "slices": [SLICE]}),
        _steps(MODEL_STEP, evaluation={**BY_STEP, "slices": [SLICE]}),
    ),
    Case(
        "TrainingRun",
        "spec.evaluation.thresholds[]",
        "must set `minimum`, `maximum` or both",
        _steps(MODEL_STEP, evaluation={**EVALUATION, "thresholds": [{**THRESHOLD, "maximum": "1"}]}),
        _steps(MODEL_STEP, evaluation={**EVALUATION, "thresholds": [THRESHOLD]}),
    ),
    Case(
        "ModelVersion",
        "",
        "must be named '<model>-v<version>'",
        {"metadata": {"name": "a-v1-v12"}, "spec": {"model": "a-v1", "version": 12}},
        {"metadata": {"name": "m-v01"}},
    ),
    Case("ModelVersion", "", "must be named '<model>-v<version>'", {}, {"metadata": {"name": "n-v1"}}),
    Case("ModelVersion", "", "must be named '<model>-v<version>'", {}, {"metadata": {"name": "m-v"}}),
    Case(
        "ModelVersion",
        "spec",
        "must have neither `lineage` nor `evaluation` with the format 'Pickle': runs publish ONNX alone",
        {"spec": {"format": "Pickle"}},
        {"spec": {"format": "Pickle", "evaluation": FULL["ModelVersion"]["spec"]["evaluation"]}},
    ),
    Case(
        "ModelVersion",
        "spec.artifact",
        "must end in '/' (a prefix) or in 'blobs/sha256/' and the hexadecimal part of `digest`",
        {"spec": {"artifact": {"uri": BLOB}}},
        {"spec": {"artifact": {"uri": BLOB[:-1] + "b"}}},
    ),
    Case(
        "Deployment",
        "",
        "must have a name of at most 45 lower case letters, digits and dashes that begins with a letter,"
        " so that the names of its children fit",
        {"metadata": {"name": "d" * 45}},
        {"metadata": {"name": "d" * 46}},
    ),
    Case(
        "Deployment",
        "",
        "must have a name of at most 45 lower case letters, digits and dashes that begins with a letter,"
        " so that the names of its children fit",
        {"metadata": {"name": "a"}},
        {"metadata": {"name": "1a"}},
    ),
    Case(
        "Deployment",
        "spec.model",
        "must set exactly one of `version` and `alias`",
        {"spec": {"model": {"version": None, "alias": "champion"}}},
        {"spec": {"model": {"alias": "champion"}}},
    ),
    Case(
        "Deployment",
        "spec.model",
        "must set exactly one of `version` and `alias`",
        {},
        {"spec": {"model": {"version": None}}},
    ),
    Case(
        "Deployment",
        "spec.model",
        "must set `version` when `digest` is set",
        {"spec": {"model": {"digest": DIGEST}}},
        {"spec": {"model": {"digest": DIGEST, "version": None, "alias": "champion"}}},
    ),
    Case(
        "Deployment",
        "spec.endpoint",
        "must have REST among `protocols`, which health checks need",
        {"spec": {"endpoint": {"protocols": ["GRPC", "REST"]}}},
        {"spec": {"endpoint": {"protocols": ["GRPC"]}}},
    ),
    Case(
        "Deployment",
        "spec.endpoint.podTemplate",
        LABELS,
        {"spec": {"endpoint": _labels("modelyard.dev.example.com/x")}},
        {"spec": {"endpoint": _labels("modelyard.dev/revision")}},
    ),
]


def _in_pipeline(case: Case) -> Case:
    """Return the same rule where a Pipeline's template has it."""
    passing, failing = (_run(**patch.get("spec", {})) for patch in (case.passing, case.failing))
    return Case("Pipeline", f"spec.template.{case.path}", case.message, passing, failing)


CASES += [_in_pipeline(case) for case in CASES if case.kind == "TrainingRun" and case.path]


@pytest.mark.parametrize(
    "name", ["modelyard-store", "modelyard-agent", "modelyard-step", "modelyard-step-", "Modelyard-step-a", "a"]
)
def test_step_may_name_only_what_is_meant_for_steps(undecided: Resources, name: str) -> None:
    """The store's Secret and the agent's ServiceAccount above all are not for user code."""
    steps = (
        _step(envFrom=[{"secretRef": {"name": name}}]),
        _step(envFrom=[{"configMapRef": {"name": name}}]),
        _step(podTemplate={"serviceAccountName": name}),
    )
    for step in steps:
        with pytest.raises(RefusedError, match="modelyard-step-"):
            undecided.create(merged(MINIMAL["TrainingRun"], _steps(step)), dry_run=True)


def _rules(node: Object, path: str) -> Iterator[tuple[str, str]]:
    for rule in node.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"]:  # tested field by field in test_immutability
            yield path, rule["message"]
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}".removeprefix("."))
    if "items" in node:
        yield from _rules(node["items"], f"{path}[]")


def test_each_rule_has_a_case() -> None:
    rules = {
        (kind.kind, path, message)
        for kind in KINDS
        for version in custom_resource_definition(kind)["spec"]["versions"]
        for path, message in _rules(version["schema"]["openAPIV3Schema"], "")
    }
    assert {(case.kind, case.path, case.message) for case in CASES} == rules


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_lets_pass_what_keeps_it(undecided: Resources, case: Case) -> None:
    undecided.create(merged(MINIMAL[case.kind], case.passing), dry_run=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_refuses_what_breaks_it(undecided: Resources, case: Case) -> None:
    with pytest.raises(RefusedError) as refused:
        undecided.create(merged(MINIMAL[case.kind], case.failing), dry_run=True)
    assert [message.split(": ", 1)[-1] for _, message in refused.value.causes] == [case.message]
