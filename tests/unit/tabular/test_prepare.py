from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from modelyard.steps.tables import TableError
from modelyard.steps.tabular.parameters import ParameterError, parse_preparation
from modelyard.steps.tabular.prepare import Prepared, prepare, write
from tests.support.flights import FEATURES, PARAMETERS, write_flights


def table(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "table.csv").write_text(text)


def prepared(folder: Path, *, seed: int = 0, **parameters: str) -> Prepared:
    return run(folder, parameters, seed)


def run(folder: Path, parameters: Mapping[str, str], seed: int = 0) -> Prepared:
    inputs = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}
    return prepare(inputs, parse_preparation({"label": "y", **parameters}), seed)


SMALL = "t,x,c,y\n2013-01-01,1,a,0\n2013-01-02,2,b,1\n2013-01-03,NA,a,0\n2013-01-04,4,NA,1\n2013-01-05,5,a,NA\n"


def test_latest_rows_are_the_test(tmp_path: Path) -> None:
    table(tmp_path, "main", SMALL)
    result = prepared(tmp_path, timeColumn="t", testFraction="0.25")
    assert result.train["x"].to_pylist() == [1, 2, None]
    assert result.test["x"].to_pylist() == [4]
    assert result.train.column_names == ["x", "c", "y", "t"]


def test_rows_at_the_same_time_stay_together(tmp_path: Path) -> None:
    table(tmp_path, "main", "t,x,y\n" + "".join(f"{t},{i},{i % 2}\n" for i, t in enumerate([1, 1, 2, 2, 2, 2])))
    result = prepared(tmp_path, timeColumn="t", testFraction="0.2", deduplicate="false")
    assert result.train["t"].to_pylist() == [1, 1]
    assert result.test["t"].to_pylist() == [2, 2, 2, 2]


@pytest.mark.parametrize("until", ["2013-01-03", "2013-01-03T00:00:00"])
def test_train_until_is_the_first_time_of_the_test(tmp_path: Path, until: str) -> None:
    table(tmp_path, "main", SMALL)
    result = prepared(tmp_path, timeColumn="t", trainUntil=until)
    assert result.train["x"].to_pylist() == [1, 2]


def test_times_with_a_zone_are_compared_in_it(tmp_path: Path) -> None:
    table(tmp_path, "main", "t,x,y\n2013-01-01T04:00:00Z,1,0\n2013-01-01T05:00:00Z,2,1\n")
    result = prepared(tmp_path, timeColumn="t", trainUntil="2013-01-01T00:00:00-05:00")
    assert result.test["x"].to_pylist() == [2]


def test_random_split_follows_the_seed(tmp_path: Path) -> None:
    table(tmp_path, "main", "x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50)))
    one, same, other = (prepared(tmp_path, seed=seed, split="random") for seed in (1, 1, 2))
    assert one.test.equals(same.test)
    assert not one.test.equals(other.test)
    assert one.test.num_rows == 10


def test_comparison_makes_a_label_and_missing_stays_missing(tmp_path: Path) -> None:
    table(tmp_path, "main", "t,delay,x\n1,15,1\n2,16,2\n3,NA,3\n4,20,4\n")
    result = prepared(tmp_path, label="delay > 15", labelName="late", timeColumn="t", trainUntil="4")
    assert result.train.to_pydict() == {"x": [1, 2], "late": [0, 1], "t": [1, 2]}


def test_joined_columns_are_found_by_key_in_the_order_of_the_rows(tmp_path: Path) -> None:
    table(tmp_path, "main", "t,plane,year,y\n1,b,2013,0\n2,zz,2013,1\n3,a,2013,0\n4,b,2013,1\n")
    table(tmp_path, "planes", "plane,year,seats\na,1990,100\nb,2000,200\n")
    result = prepared(tmp_path, join="planes:plane", timeColumn="t", trainUntil="4", exclude="plane")
    assert result.train.to_pydict() == {
        "year": [2013, 2013, 2013],
        "planes_year": [2000, None, 1990],
        "seats": [200, None, 100],
        "y": [0, 1, 0],
        "t": [1, 2, 3],
    }
    assert "planes: found for 3 rows by plane" in result.notes


def test_repeated_rows_are_dropped_unless_asked_otherwise(tmp_path: Path) -> None:
    table(tmp_path, "main", "t,x,y\n1,1,0\n1,1,0\n2,2,1\n")
    assert prepared(tmp_path, timeColumn="t", trainUntil="2").train.num_rows == 1
    assert prepared(tmp_path, timeColumn="t", trainUntil="2", deduplicate="false").train.num_rows == 2


def test_numbers_that_are_names_become_texts(tmp_path: Path) -> None:
    table(tmp_path, "main", "t,code,y\n1,7,0\n2,8,1\n3,NA,1\n")
    result = prepared(tmp_path, timeColumn="t", trainUntil="3", categorical="code")
    assert result.train["code"].to_pylist() == ["7", "8"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"timeColumn": "when"}, "parameter 'timeColumn' must be a column (t, x, c, y), got 'when'"),
        ({"label": "z"}, "parameter 'label' must be a column (t, x, c, y), got 'z'"),
        ({"label": "c > 1"}, "parameter 'label' must compare a column of numbers, 'c' is string"),
        ({"label": "x > 1", "labelName": "c"}, "parameter 'labelName' must not be the name of another column"),
        ({"features": "x,w"}, "parameter 'features' must name columns (t, x, c, y), got 'w'"),
        ({"features": "x,y"}, "parameter 'features' must not contain what the label is made from, got 'y'"),
        ({"features": "x,t"}, "column 't' is date32[day]; exclude it"),
        ({"exclude": "x,c"}, "parameter 'exclude' must leave at least one column"),
        ({"join": "planes:x"}, "parameter 'join' must name inputs of the step (main), got 'planes'"),
        ({"trainUntil": "soon"}, "parameter 'trainUntil' must be a time in ISO 8601"),
    ],
)
def test_parameters_that_do_not_fit_the_data_are_named(
    tmp_path: Path, parameters: dict[str, str], message: str
) -> None:
    table(tmp_path, "main", SMALL)
    with pytest.raises(ParameterError) as caught:
        run(tmp_path, {"timeColumn": "t", **parameters})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        ("c,z\na,1\na,2\n", "input 'planes' must have each c once"),
        ("c,z\n1,1\n2,2\n", ""),
        ("c,x,planes_x\na,1,1\n", "has columns whose names, with 'planes_' before them, are taken"),
    ],
)
def test_join_that_would_change_rows_is_refused(tmp_path: Path, planes: str, message: str) -> None:
    table(tmp_path, "main", SMALL)
    table(tmp_path, "planes", planes)
    if not message:
        assert "planes: found for 0 rows by c" in prepared(tmp_path, timeColumn="t", join="planes:c").notes
        return
    with pytest.raises(TableError) as caught:
        prepared(tmp_path, timeColumn="t", join="planes:c")
    assert message in str(caught.value)


def test_main_input_must_be_clear(tmp_path: Path) -> None:
    table(tmp_path, "main", SMALL)
    table(tmp_path, "other", SMALL)
    with pytest.raises(ParameterError, match="must name all inputs of the step but one"):
        prepared(tmp_path, timeColumn="t")


def test_split_without_rows_on_one_side_is_refused(tmp_path: Path) -> None:
    table(tmp_path, "main", SMALL)
    with pytest.raises(TableError, match="the split leaves 0 rows to train on and 4 to test on"):
        prepared(tmp_path, timeColumn="t", trainUntil="2012-01-01")


def test_flights_give_the_same_bytes_twice(tmp_path: Path) -> None:
    write_flights(tmp_path / "in")
    found = []
    for name in ("one", "two"):
        write(run(tmp_path / "in", PARAMETERS), tmp_path / name)
        found.append([(tmp_path / name / part / f"{part}.parquet").read_bytes() for part in ("train", "test")])
    assert found[0] == found[1]
    train = pd.read_parquet(tmp_path / "one" / "train" / "train.parquet")
    assert list(train.columns) == [*FEATURES, "late", "time_hour"]
    assert train["late"].isin([0, 1]).all()
