from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1 import Deployment
from modelyard.lineage.graph import MAX_PARENTS, Graph, Known, NodeKind, lineage_graph, parents_of
from modelyard.lineage.run import RunRecord
from modelyard.lineage.svg import to_svg
from modelyard.lineage.text import to_text
from tests.support.recorded import record, sha, training_run

SVG = "{http://www.w3.org/2000/svg}"
RUN = RunRecord.of(training_run())
SERVED = {"name": "flight-delay", "version": 7, "digest": sha("e"), "revision": "0" * 10}


def deployment(name: str, **status: Any) -> Deployment:
    return Deployment.model_validate(
        {
            "metadata": {"name": name, "namespace": "air", "uid": "u"},
            "spec": {"model": {"name": "flight-delay", "version": 7}},
            "status": status,
        }
    )


def links(graph: Graph) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.label, edge.target) for edge in graph.edges}


def test_lineage_names_data_code_parameters_run_and_judgement() -> None:
    graph = lineage_graph(Known(record(previous=None), RUN))
    assert links(graph) == {
        ("Data/flights", "reads", "TrainingRun/nightly"),
        ("Code/prepare", "runs", "TrainingRun/nightly"),
        ("Code/train", "runs", "TrainingRun/nightly"),
        ("Parameters/parameters", "with", "TrainingRun/nightly"),
        ("TrainingRun/nightly", "made by", "ModelVersion/flight-delay-v7"),
        ("Evaluation/evaluation", "judged", "ModelVersion/flight-delay-v7"),
    }
    assert ("digest", sha("a")) in graph.node("Data/flights").facts
    assert ("maxDepth", "6") in graph.node("Parameters/parameters").facts


def test_record_alone_gives_a_lineage_without_the_values_of_the_parameters() -> None:
    graph = lineage_graph(Known(record()))
    assert graph.node("Parameters/parameters").facts == (("digest", sha("9")), ("seed", "7"))


def test_model_that_a_person_registered_has_no_run() -> None:
    graph = lineage_graph(Known(record(lineage=None, evaluation=None)))
    assert [node.kind for node in graph.nodes] == [NodeKind.MODEL_VERSION]


@pytest.mark.parametrize(
    ("status", "label"),
    [
        ({"model": SERVED}, "serves in"),
        (
            {
                "candidate": {
                    "version": 7,
                    "digest": sha("e"),
                    "revision": "0" * 10,
                    "startTime": "2026-01-01T00:00:00Z",
                }
            },
            "is rolled out to",
        ),
        ({"history": [{**SERVED, "fromTime": "2026-01-01T00:00:00Z"}]}, "served in"),
        ({"model": {**SERVED, "version": 6}}, None),
        ({"model": {**SERVED, "name": "other"}}, None),
        ({}, None),
    ],
)
def test_deployment_is_named_by_what_the_version_is_to_it(status: dict[str, Any], label: str | None) -> None:
    graph = lineage_graph(Known(record(), deployments=[deployment("web", **status)]))
    found = [edge.label for edge in graph.edges if edge.target == "Deployment/web"]
    assert found == ([label] if label else [])


def test_parents_are_the_champions_before_as_far_as_they_exist() -> None:
    versions = [record(6, 4), record(5, 4), record(4, 2), record(9, 8)]
    assert [parent.version for parent in parents_of(record(7, 6), versions)] == [6, 4]
    graph = lineage_graph(Known(record(7, 6), parents=parents_of(record(7, 6), versions)))
    assert {edge for edge in links(graph) if edge[1] == "follows"} == {
        ("ModelVersion/flight-delay-v6", "follows", "ModelVersion/flight-delay-v7"),
        ("ModelVersion/flight-delay-v4", "follows", "ModelVersion/flight-delay-v6"),
        ("ModelVersion/flight-delay-v2", "follows", "ModelVersion/flight-delay-v4"),
    }
    assert graph.node("ModelVersion/flight-delay-v2").facts == (("record", "not here"),)


def test_chain_of_parents_is_bounded_and_never_turns_back() -> None:
    long = [record(number, number - 1) for number in range(2, 60)]
    assert len(parents_of(record(60, 59), long)) == MAX_PARENTS
    assert parents_of(record(7, 7), [record(7, 7)]) == ()
    assert [parent.version for parent in parents_of(record(7, 6), [record(6, 7), record(7, 6)])] == [6]


def test_text_is_a_tree_from_the_version_outwards() -> None:
    text = to_text(lineage_graph(Known(record(), RUN, deployments=[deployment("web", model=SERVED)])))
    lines = text.splitlines()
    assert lines[0] == "ModelVersion flight-delay-v7"
    assert "├─ made by TrainingRun nightly" in lines
    assert "│  ├─ reads Data flights" in lines
    assert "├─ judged Evaluation BetterThanChampion" in lines
    assert "└─ serves in Deployment web" in lines
    assert sha("a") not in text
    assert "sha256:aaaaaaaaaaaa…" in text


def test_value_of_a_user_stays_in_its_line_and_does_nothing_to_the_terminal() -> None:
    parameters = [{"name": "note", "value": "a\nb\x1b[2Jc" + "x" * 4000}]
    text = to_text(lineage_graph(Known(record(), RunRecord.of(training_run(parameters=parameters)))))
    found = next(line for line in text.splitlines() if "note" in line)
    assert "a b\N{REPLACEMENT CHARACTER}[2Jcxxx" in found
    assert len(found) < 200


def test_picture_is_well_formed_titled_and_shows_what_users_wrote_as_text() -> None:
    graph = lineage_graph(Known(record(card={"owner": "<script>alert('&')</script>"}), RUN))
    text = to_svg(graph)
    root = ET.fromstring(text)  # noqa: S314 - made here
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Lineage of flight-delay-v7"
    assert "flight-delay-v7 made by nightly" in (root.findtext(f"{SVG}desc") or "")
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "style", "defs", "marker", "path", "rect", "text")
    }
    assert any("<script>" in (element.text or "") for element in root.iter(f"{SVG}text"))


@given(st.text(max_size=300))
def test_picture_is_well_formed_whatever_users_write(text: str) -> None:
    run = RunRecord.of(training_run(parameters=[{"name": "note", "value": text}]))
    graph = lineage_graph(Known(record(card={"owner": text or "x"}), run))
    ET.fromstring(to_svg(graph))  # noqa: S314 - made here
    assert len(to_text(graph).splitlines()) == sum(1 + len(node.facts) for node in graph.nodes)


def test_no_boxes_of_a_picture_overlap_and_all_lie_within() -> None:
    parents = parents_of(record(), [record(6, 5), record(5, 4)])
    graph = lineage_graph(Known(record(), RUN, parents, [deployment(name, model=SERVED) for name in ("a", "b")]))
    root = ET.fromstring(to_svg(graph))  # noqa: S314 - made here
    boxes = [
        tuple(int(box.get(name, "")) for name in ("x", "y", "width", "height")) for box in root.findall(f"{SVG}svg")
    ]
    assert len(boxes) == len(graph.nodes)
    for number, (x, y, width, height) in enumerate(boxes):
        assert x + width <= int(root.get("width", ""))
        assert y + height <= int(root.get("height", ""))
        for x2, y2, width2, height2 in boxes[:number]:
            assert x + width <= x2 or x2 + width2 <= x or y + height <= y2 or y2 + height2 <= y
