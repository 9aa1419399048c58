import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.controller.kinds.trainingrun.numbers import counter_entry, next_version


@pytest.mark.parametrize(
    ("counter", "existing", "number"),
    [
        (None, [], 1),
        (None, [4, 2], 5),
        ("3:other", [], 4),
        ("3:other", [7], 8),
        ("3:mine", [], 3),
        ("3:mine", [2], 3),
        ("3:mine", [3], 4),
        ("what a person wrote", [2], 3),
        ("-1:mine", [], 1),
        ("99999999999:mine", [], 1),
    ],
)
def test_next_version(counter: str | None, existing: list[int], number: int) -> None:
    assert next_version(counter, existing, "mine") == number


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
def test_numbers_are_never_given_twice(asking: list[str]) -> None:
    counter, owner = None, dict[int, str]()
    for run in asking:
        number = next_version(counter, [], run)
        assert owner.setdefault(number, run) == run
        counter = counter_entry(number, run)
