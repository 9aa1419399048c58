import pickle
from pathlib import Path

import pytest

from modelyard.cli.check_convert import CheckError, check_pickle
from tests.support.tenant import small_table


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1 + 1",)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.csv"
    path.write_bytes(small_table(seed=1, rows=100))
    return path


def test_pickle_that_is_up_to_something_is_refused_by_name(tmp_path: Path, samples: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Malicious()))
    found = check_pickle(path, None)
    assert not found.converts
    assert found.text.startswith("PickleRefused: ")
    assert "builtins.eval" in found.text
    assert found == check_pickle(path, samples)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match=r"nothing\.pkl' is no file"):
        check_pickle(tmp_path / "nothing.pkl", None)


def test_missing_samples_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").touch()
    with pytest.raises(CheckError, match="or name a file with --samples"):
        check_pickle(tmp_path / "model.pkl", None)
