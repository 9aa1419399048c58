"""The verdict without an API server, held against the tables that the real one is tested with."""

from typing import Any

import pytest

from modelyard.api.schema.structural import VALIDATIONS
from modelyard.manifests.documents import Document, parse_documents
from modelyard.manifests.paths import shown
from modelyard.manifests.rules import Unchecked, broken_rules
from modelyard.manifests.structure import Problem
from modelyard.manifests.validation import Report, Verdict, validate
from tests.cluster.api.objects import FULL, MINIMAL, merged
from tests.cluster.api.test_definitions import test_value_out_of_bounds_is_refused_by_name as out_of_bounds
from tests.cluster.api.test_rules import CASES, Case

(BOUNDS,) = (mark.args[1] for mark in out_of_bounds.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]


def checked(value: Any) -> Report:
    return validate(Document(value, 1, {}))


@pytest.mark.parametrize("document", [*MINIMAL.values(), *FULL.values()], ids=lambda document: document["kind"])
def test_what_the_api_server_takes_is_valid(document: Any) -> None:
    report = checked(document)
    assert (report.verdict, report.findings, report.unchecked) == (Verdict.VALID, (), ())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rules_judge_as_on_the_api_server(case: Case) -> None:
    assert checked(merged(MINIMAL[case.kind], case.passing)).verdict is Verdict.VALID
    refused = checked(merged(MINIMAL[case.kind], case.failing))
    assert refused.verdict is Verdict.INVALID
    assert [finding.message for finding in refused.findings] == [case.message]
    assert refused.unchecked == ()


@pytest.mark.parametrize(("kind", "changes", "field", "problem"), BOUNDS)
def test_bounds_are_those_of_the_api_server(kind: str, changes: Any, field: str, problem: str) -> None:
    report = checked(merged(MINIMAL[kind], changes))
    assert report.verdict is Verdict.INVALID
    assert field in [finding.field for finding in report.findings]


MANIFEST = """\
apiVersion: modelyard.dev/v1alpha1
kind: TrainingRun
metadata:
  name: a
spec:
  model: m
  steps:
  - name: s
    imgae: x
    uses: tabular/train@v1
"""


def test_a_misspelt_field_is_shown_with_its_line_and_the_nearest_name() -> None:
    (document,) = parse_documents(MANIFEST)
    (finding,) = validate(document).findings
    assert (finding.line, finding.field) == (9, "spec.steps[0].imgae")
    assert finding.message == "is not a field here; did you mean `image`?"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"kind": "TrainingRuns"}, "kind", "did you mean `TrainingRun`?"),
        ({"apiVersion": "modelyard.dev/v1"}, "apiVersion", "must be modelyard.dev/v1alpha1, is 'modelyard.dev/v1'"),
        ({"metadata": {"name": "A"}}, "metadata.name", "lower-case letters"),
        ({"metadata": {"name": None}}, "metadata.name", "must be set"),
        ({"metadata": {"labels": {"a": 1}}}, "metadata.labels.a", "put it in quotes"),
        ({"metadata": {"annotations": []}}, "metadata.annotations", "must be an object"),
        ({"metadata": []}, "metadata", "must be an object with a name"),
        ({"spec": None}, "spec", "must be set"),
    ],
)
def test_what_no_schema_says_is_checked_too(change: Any, field: str, message: str) -> None:
    report = checked(merged(MINIMAL["TrainingRun"], change))
    assert any(finding.field == field and message in finding.message for finding in report.findings), report


def test_a_name_may_be_generated() -> None:
    manifest = merged(MINIMAL["TrainingRun"], {"metadata": {"name": None, "generateName": "run-"}})
    fields = [finding.field for finding in checked(manifest).findings]
    assert "metadata.name" not in fields


def test_other_kinds_are_skipped_and_it_says_so() -> None:
    report = checked({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    assert report.verdict is Verdict.SKIPPED
    assert "not checked" in report.findings[0].message
    assert checked(7).verdict is Verdict.INVALID


def rule(text: str) -> dict[str, Any]:
    return {"type": "object", VALIDATIONS: [{"rule": text, "message": "must hold"}]}


def test_a_rule_that_only_the_api_server_can_evaluate_is_reported_not_passed_over() -> None:
    (found,) = broken_rules({}, rule("quantity('1Gi').isGreaterThan(quantity('1Mi'))"))
    assert isinstance(found, Unchecked)
    assert "undeclared reference to 'quantity'" in found.problem


def test_a_rule_that_fails_at_run_time_refuses_the_object() -> None:
    (found,) = broken_rules({}, rule("self.a == 1"))
    assert isinstance(found, Problem)
    assert found.message.startswith("must hold (")


def test_rules_about_changes_do_not_speak_of_new_objects() -> None:
    assert list(broken_rules({}, rule("self == oldSelf"))) == []


def test_rules_are_not_asked_about_what_is_invalid_already() -> None:
    schema = {"type": "object", "properties": {"a": rule("false"), "b": rule("false")}}
    broken = [item for item in broken_rules({"a": {}, "b": {}}, schema, {("a", "x")}) if isinstance(item, Problem)]
    assert [shown(item.path) for item in broken] == ["b"]
