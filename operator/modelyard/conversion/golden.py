"""Golden examples: does a model still answer as it did where it was made?"""

from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.tensors import from_tensor, to_tensor
from modelyard.model import Examples, agrees


def mismatch(model: OnnxModel, examples: Examples) -> str:
    """Return the first disagreement in a sentence, or nothing when all answers agree.

    Raises:
        ConversionError: the runtime refuses a request.
    """
    datatypes = {tensor.name: tensor.datatype for tensor in model.signature.outputs}
    for index, example in enumerate(examples.examples):
        answers = model.run({tensor.name: from_tensor(tensor) for tensor in example.inputs})
        for expected in example.outputs:
            actual = to_tensor(expected.name, datatypes[expected.name], answers[expected.name])
            if actual.shape != expected.shape:
                return (
                    f"examples[{index}]: {expected.name} has the shape {list(actual.shape)}, not {list(expected.shape)}"
                )
            for said, wanted in zip(actual.data, expected.data, strict=True):
                if not agrees(said, wanted, examples.tolerance):
                    return f"examples[{index}]: {expected.name} is {said}, must be {wanted} within {examples.tolerance}"
    return ""
