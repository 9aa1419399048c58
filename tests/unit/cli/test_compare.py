from typing import Any

from modelyard.api.v1alpha1 import ModelVersion, TrainingRun
from modelyard.cli.compare import Side, compare
from modelyard.lineage.run import RunRecord
from tests.support.recorded import signature


def version(number: int, **spec: Any) -> ModelVersion:
    digest = f"sha256:{number:064x}"
    return ModelVersion.model_validate(
        {
            "metadata": {"name": f"m-v{number}", "namespace": "air", "uid": "u"},
            "spec": {"model": "m", "version": number, "artifact": {"uri": "s3://b/m/", "digest": digest}} | spec,
        }
    )


def lineage(image: str, data: int) -> dict[str, Any]:
    return {
        "trainingRun": {"name": "r", "uid": "u", "namespace": "air"},
        "code": [{"step": "train", "image": image}],
        "inputs": [{"name": "flights", "uri": "s3://air/flights/", "digest": f"sha256:{data:064x}"}],
        "parametersDigest": f"sha256:{9:064x}",
        "seed": 7,
    }


def differing(left: Side, right: Side) -> set[tuple[str, str]]:
    return {(row.section, row.name) for row in compare(left, right) if row.differs}


def test_compare_finds_changed_code_and_data() -> None:
    left, right = version(1, lineage=lineage("a:1", 1)), version(2, lineage=lineage("a:2", 2))
    assert {("code", "train"), ("data", "flights"), ("artifact", "digest")} <= differing(Side(left), Side(right))


def test_compare_shows_parameters_of_the_run() -> None:
    run = TrainingRun.model_validate(
        {
            "metadata": {"name": "r", "namespace": "air", "uid": "u"},
            "spec": {
                "model": "m",
                "parameters": [{"name": "maxDepth", "value": "6"}],
                "steps": [{"name": "t", "image": "i"}],
            },
        }
    )
    left, right = version(1, lineage=lineage("a:1", 1)), version(2, lineage=lineage("a:1", 1))
    assert ("parameters", "maxDepth") in differing(Side(left, RunRecord.of(run)), Side(right))


def test_compare_of_registered_versions_without_lineage_still_compares_bytes() -> None:
    assert differing(Side(version(1)), Side(version(2))) == {("artifact", "digest")}


def test_compare_shows_what_the_champion_scored_on_the_same_rows() -> None:
    evaluation = {
        "by": "Modelyard",
        "metric": "rocAuc",
        "value": "0.71",
        "rows": 10,
        "datasetDigest": f"sha256:{3:064x}",
        "verdict": "BetterThanChampion",
        "champion": {"version": 1, "digest": f"sha256:{1:064x}", "value": "0.70"},
    }
    rows = {
        (row.section, row.name): row.right for row in compare(Side(version(1)), Side(version(2, evaluation=evaluation)))
    }
    assert rows["evaluation", "champion then"] == "v1 (0.70)"
    assert rows["evaluation", "verdict"] == "BetterThanChampion"


def test_compare_shows_the_interval_of_the_difference_and_the_worst_groups() -> None:
    difference = {"value": "0.01", "low": "0.002", "high": "0.018"}
    evaluation = {
        "metric": "rocAuc",
        "goal": "Maximize",
        "value": "0.71",
        "low": "0.7",
        "high": "0.72",
        "verdict": "BetterThanChampion",
        "champion": {"version": 1, "digest": f"sha256:{1:064x}", "value": "0.70", "difference": difference},
        "slices": [
            {
                "column": "carrier",
                "group": "HA",
                "groups": 12,
                "rows": 98,
                "value": "0.6",
                "champion": "0.65",
                "difference": {"value": "-0.05", "low": "-0.2", "high": "0.1"},
            }
        ],
    }
    rows = {row.name: row.right for row in compare(Side(version(1)), Side(version(2, evaluation=evaluation)))}
    assert rows["95 % interval"] == "0.7 … 0.72"
    assert rows["compared with it"] == "0.01 better than v1"
    assert rows["difference"] == "0.01 (0.002 … 0.018)"
    assert rows["slice carrier"] == "worst of 12: 'HA' 0.6 on 98 rows, champion 0.65, difference -0.05 (-0.2 … 0.1)"


def test_compare_of_a_step_s_numbers_has_neither_rows_nor_intervals() -> None:
    evaluation = {"by": "Step", "metric": "ndcg", "goal": "Maximize", "value": "0.7", "verdict": "FirstVersion"}
    rows = {row.name: row.right for row in compare(Side(version(1)), Side(version(2, evaluation=evaluation)))}
    assert (rows["by"], rows["rows"], rows["judged rows"], rows["95 % interval"]) == ("Step", "—", "—", "—")


def test_compare_shows_schemas_tensor_by_tensor_when_both_are_known() -> None:
    old = signature()
    changed = old.inputs[0].model_copy(update={"maximum": 9000.0})
    new = old.model_copy(update={"inputs": (changed, *old.inputs[1:])})
    rows = {row.name: row for row in compare(Side(version(1), None, old), Side(version(2), None, new))}
    assert rows["input distance"].left == "FP32[-1, 1], Numeric, 80 … 4983, may be missing"
    assert rows["input distance"].right == "FP32[-1, 1], Numeric, 80 … 9000, may be missing"
    assert not rows["input carrier"].differs
    assert not rows["task"].differs


def test_compare_notices_other_categories_of_the_same_number() -> None:
    old = signature()
    changed = old.inputs[1].model_copy(update={"categories": ("AA", "DL")})
    new = old.model_copy(update={"inputs": (old.inputs[0], changed)})
    assert ("schema", "input carrier") in differing(Side(version(1), None, old), Side(version(2), None, new))


def test_compare_of_a_known_and_an_unknown_schema_compares_digests() -> None:
    rows = [row for row in compare(Side(version(1), None, signature()), Side(version(2))) if row.section == "schema"]
    assert [row.name for row in rows] == ["digest"]
