import pytest

from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.plan import Plan


def test_plan_refuses_conditions_without_a_status() -> None:
    with pytest.raises(ValueError, match="status must be a mapping, not None"):
        Plan(conditions=(Condition("Ready", "True", "Done"),))


@pytest.mark.parametrize("field", ["conditions", "observedGeneration"])
def test_plan_refuses_what_the_writer_adds(field: str) -> None:
    with pytest.raises(ValueError, match="the writer adds them"):
        Plan(status={field: []})
