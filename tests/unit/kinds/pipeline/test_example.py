import yaml

from dev.generate import REPOSITORY
from modelyard.api.v1alpha1.trainingrun import TrainingRunSpec
from modelyard.controller.kinds.pipeline.triggers import template_digest
from tests.unit.kinds.pipeline.world import World


def test_example_of_continuous_training_runs_the_recipe_of_the_demo_and_starts_at_once() -> None:
    example = yaml.safe_load((REPOSITORY / "examples/continuous-training/pipeline.yaml").read_text())
    demo = yaml.safe_load((REPOSITORY / "examples/flight-delay/trainingrun.yaml").read_text())
    assert example["spec"]["template"]["spec"] == demo["spec"]
    world = World(example["spec"])
    world.data = {item["name"]: 0 for item in demo["spec"]["inputs"]}
    world.settle()
    (run,) = world.runs()
    made = TrainingRunSpec.model_validate(world.run(run)["spec"])
    assert template_digest(made.model_copy(update={"trigger": None})) == template_digest(
        TrainingRunSpec.model_validate(demo["spec"])
    )
