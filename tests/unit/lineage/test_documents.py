import json
import re
from pathlib import Path
from typing import Any

import cyclonedx.schema
import jsonschema_rs
import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.serde import Serde

from modelyard.lineage.documents import documents
from modelyard.lineage.documents.model_card import escape
from modelyard.lineage.documents.openlineage import dataset_name, run_id
from modelyard.lineage.run import RunRecord
from tests.support.recorded import STORE, UID, image, record, sha, signature, subject, training_run


def document(name: str, **changes: Any) -> Any:
    return json.loads(documents(subject(**changes))[name])


def events(**changes: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in documents(subject(**changes))["openlineage.jsonl"].splitlines()]


def cyclonedx_validator() -> jsonschema_rs.Draft7Validator:
    folder = Path(cyclonedx.schema.__file__).parent / "_res"
    names = ("bom-1.6.SNAPSHOT.schema.json", "spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    schemas = {name: json.loads((folder / name).read_text()) for name in names}
    base = "http://cyclonedx.org/schema/"
    registry = jsonschema_rs.Registry([(base + name, schema) for name, schema in schemas.items()])
    return jsonschema_rs.Draft7Validator(schemas[names[0]], registry=registry, validate_formats=True)


def test_same_subject_gives_the_same_bytes() -> None:
    assert documents(subject()) == documents(subject())


class TestProvenance:
    def test_statement_names_the_model_and_each_of_its_files(self) -> None:
        statement = document("provenance.json")
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
        assert statement["subject"] == [
            {"name": "flight-delay-v7", "digest": {"sha256": "e" * 64}},
            {"name": "flight-delay-v7/model.onnx", "digest": {"sha256": "f" * 64}},
            {"name": "flight-delay-v7/modelyard.json", "digest": {"sha256": "5" * 64}},
        ]

    def test_predicate_has_what_slsa_requires(self) -> None:
        predicate = document("provenance.json")["predicate"]
        definition, details = predicate["buildDefinition"], predicate["runDetails"]
        assert definition["buildType"] == "https://modelyard.dev/training-run/v1"
        assert definition["externalParameters"]["seed"] == 7
        assert details["builder"]["id"] == "https://modelyard.dev/operator"
        assert details["metadata"] == {
            "invocationId": UID,
            "startedOn": "2026-01-01T00:00:00Z",
            "finishedOn": "2026-01-01T00:01:00Z",
        }
        digest = RunRecord.of(training_run()).digest.removeprefix("sha256:")
        assert details["byproducts"] == [{"name": "run.json", "digest": {"sha256": digest}}]

    def test_dependencies_are_data_and_images_by_digest(self) -> None:
        found = document("provenance.json")["predicate"]["buildDefinition"]["resolvedDependencies"]
        assert found == [
            {
                "name": "flights",
                "uri": "s3://air/flights/",
                "digest": {"sha256": "a" * 64},
                "annotations": {"version": "v9"},
            },
            {"name": "step prepare", "uri": f"oci://{image('trainer', '1')}", "digest": {"sha256": "1" * 64}},
            {"name": "step train", "uri": f"oci://{image('train', '2')}", "digest": {"sha256": "2" * 64}},
        ]


class TestBillOfMaterials:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"record": record(evaluation=None, card={})},
            {"signature": signature().model_copy(update={"label": None})},
            {"run": RunRecord.of(training_run()).model_copy(update={"inputs": (), "steps": ()})},
        ],
    )
    def test_it_is_valid_by_the_official_schema(self, changes: dict[str, Any]) -> None:
        errors = [error.message for error in cyclonedx_validator().iter_errors(document("bom.json", **changes))]
        assert errors == []

    def test_the_schema_would_notice_a_mistake(self) -> None:
        bill = document("bom.json")
        bill["metadata"]["component"]["type"] = "model"
        assert not cyclonedx_validator().is_valid(bill)

    def test_model_card_has_task_data_and_metrics_with_interval(self) -> None:
        card = document("bom.json")["metadata"]["component"]["modelCard"]
        assert card["modelParameters"]["task"] == "BinaryClassification"
        assert card["modelParameters"]["datasets"] == [{"ref": "data:flights"}, {"ref": "data:judged-rows"}]
        assert card["quantitativeAnalysis"]["performanceMetrics"] == [
            {
                "type": "rocAuc",
                "value": "0.7134",
                "confidenceInterval": {"lowerBound": "0.7051", "upperBound": "0.7214"},
            },
            {"type": "logLoss", "value": "0.4012"},
        ]

    def test_references_are_unique_and_lead_somewhere(self) -> None:
        bill = document("bom.json")
        references = [part["bom-ref"] for part in bill["components"]]
        assert len(references) == len(set(references))
        assert bill["dependencies"] == [{"ref": "model", "dependsOn": references}]


class TestModelCard:
    def test_it_tells_use_data_metrics_and_owner(self) -> None:
        card = documents(subject())["card.md"]
        assert card.startswith("# flight\\-delay\\-v7\n")
        assert re.findall(r"^## (.+)$", card, re.MULTILINE) == [
            *("Use", "Inputs", "Data", "Training", "Evaluation", "Limits")
        ]
        assert "| Owner | team\\-air@example\\.com |" in card
        assert "| rocAuc | 0.7134 | 0.7051 to 0.7214 | 0.7011 |" in card
        assert "| distance | FP32 | 80 to 4983 | yes |" in card

    def test_what_users_wrote_is_no_markup(self) -> None:
        card = documents(subject())["card.md"]
        assert "| note | \\<b\\>\\|\\`x\\`\\*y\\* z |" in card

    @pytest.mark.parametrize("text", ["a\nb", "a\r\n\tb", "a \u2028 b"])
    def test_text_stays_in_its_line(self, text: str) -> None:
        assert escape(text) == "a b"

    def test_long_text_is_cut(self) -> None:
        assert len(escape("x" * 4096)) == 200

    def test_limits_name_what_is_not_known(self) -> None:
        run = RunRecord.of(training_run())
        run = run.model_copy(update={"steps": (run.steps[0].model_copy(update={"image": "trainer:latest"}),)})
        card = documents(subject(run=run, record=record(evaluation=None)))["card.md"]
        assert "- Nobody has measured how good it is." in card
        assert "- Images that are not known by digest: prepare." in card


class TestOpenLineage:
    def test_each_step_starts_and_completes_within_the_run(self) -> None:
        found = [(event["eventType"], event["job"]["name"], event["eventTime"]) for event in events()]
        assert found == [
            ("START", "flight-delay", "2026-01-01T00:00:00Z"),
            ("START", "flight-delay.prepare", "2026-01-01T00:00:01Z"),
            ("COMPLETE", "flight-delay.prepare", "2026-01-01T00:00:20Z"),
            ("START", "flight-delay.train", "2026-01-01T00:00:21Z"),
            ("COMPLETE", "flight-delay.train", "2026-01-01T00:01:00Z"),
            ("COMPLETE", "flight-delay", "2026-01-01T00:01:00Z"),
        ]

    def test_datasets_are_named_by_place_and_versioned_by_content(self) -> None:
        train = events()[4]
        assert [(data["namespace"], data["name"]) for data in train["inputs"]] == [
            ("s3://air", "development/outputs/flight-delay/features"),
            ("s3://air", "development/models/flight-delay"),
        ]
        model = train["outputs"][0]
        assert model["facets"]["version"]["datasetVersion"] == "7"
        assert train["inputs"][1]["facets"]["version"]["datasetVersion"] == "6"
        assert train["inputs"][0]["facets"]["version"]["datasetVersion"] == sha("b")
        assert model["facets"]["schema"]["fields"][0] == {"name": "distance", "type": "FP32"}
        assert model["outputFacets"]["outputStatistics"]["size"] == 4096

    def test_rows_of_an_input_are_told_where_they_are_known(self) -> None:
        statistics = events()[0]["inputs"][0]["inputFacets"]["inputStatistics"]
        assert (statistics["rowCount"], statistics["size"]) == (100, 1200)

    def test_steps_name_their_run_as_parent(self) -> None:
        parent = events()[1]["run"]["facets"]["parent"]
        assert parent["run"] == {"runId": UID}
        assert parent["job"] == {"namespace": "air", "name": "flight-delay"}

    def test_events_are_those_of_the_official_client(self) -> None:
        for event in events():
            assert json.loads(Serde.to_json(_official(event))) == event

    def test_run_that_never_said_when_it_began_has_no_events(self) -> None:
        assert events(run=RunRecord.of(training_run()).model_copy(update={"start_time": None})) == []

    def test_uid_that_is_no_uuid_becomes_one(self) -> None:
        assert run_id(UID) == UID
        assert run_id("run-uid") == run_id("run-uid") != run_id("other")

    @pytest.mark.parametrize(
        ("uri", "name"),
        [
            ("s3://air/flights/", ("s3://air", "flights")),
            ("gs://b/x.csv", ("gs://b", "x.csv")),
            ("https://example.com/a/b.csv", ("https://example.com", "a/b.csv")),
            ("file:///data/x.csv", ("file", "data/x.csv")),
            ("s3://air", ("s3://air", "/")),
            (STORE, ("s3://air", "development")),
        ],
    )
    def test_uri_gives_namespace_and_name(self, uri: str, name: tuple[str, str]) -> None:
        assert dataset_name(uri) == name


_FACETS = {
    "parent": (facet_v2.parent_run, "ParentRunFacet"),
    "processing_engine": (facet_v2.processing_engine_run, "ProcessingEngineRunFacet"),
    "jobType": (facet_v2.job_type_job, "JobTypeJobFacet"),
    "version": (facet_v2.dataset_version_dataset, "DatasetVersionDatasetFacet"),
    "schema": (facet_v2.schema_dataset, "SchemaDatasetFacet"),
    "symlinks": (facet_v2.symlinks_dataset, "SymlinksDatasetFacet"),
    "inputStatistics": (facet_v2.input_statistics_input_dataset, "InputStatisticsInputDatasetFacet"),
    "outputStatistics": (facet_v2.output_statistics_output_dataset, "OutputStatisticsOutputDatasetFacet"),
}


def _facets(given: dict[str, Any]) -> dict[str, Any]:
    """Build facets from the client's classes, which know their fields and the URL of their schema."""
    built = {}
    for name, content in given.items():
        module, kind = _FACETS[name]
        fields = {key: value for key, value in content.items() if not key.startswith("_")}
        built[name] = getattr(module, kind)(**fields, producer=content["_producer"])
        assert built[name]._schemaURL == content["_schemaURL"]
    return built


def _official(event: dict[str, Any]) -> event_v2.RunEvent:
    return event_v2.RunEvent(
        eventType=event_v2.RunState[event["eventType"]],
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(event["run"]["runId"], _facets(event["run"]["facets"])),
        job=event_v2.Job(event["job"]["namespace"], event["job"]["name"], _facets(event["job"]["facets"])),
        inputs=[
            event_v2.InputDataset(
                data["namespace"],
                data["name"],
                facets=_facets(data["facets"]),
                inputFacets=_facets(data["inputFacets"]) if "inputFacets" in data else None,
            )
            for data in event["inputs"]
        ],
        outputs=[
            event_v2.OutputDataset(
                data["namespace"],
                data["name"],
                facets=_facets(data["facets"]),
                outputFacets=_facets(data["outputFacets"]) if "outputFacets" in data else None,
            )
            for data in event["outputs"]
        ],
    )
