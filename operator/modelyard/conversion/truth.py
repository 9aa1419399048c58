"""What a model answered beside what was true, ready for metrics."""

from typing import Any

import numpy as np
import pandas as pd

from modelyard.conversion.errors import ColumnError
from modelyard.conversion.runtime import class_positions
from modelyard.conversion.tensors import Tensors, as_texts
from modelyard.model import Signature, Task
from modelyard.statistics.metrics import Classified, Estimated, Predicted


def pair(signature: Signature, outputs: Tensors, truth: "pd.Series[Any]") -> Predicted:
    """Return predictions with the truth of the same rows, none of which may be missing.

    Raises:
        ColumnError: the truth holds something that the model cannot answer; or the task is 'Other'.
    """
    if signature.task is Task.OTHER:
        raise ColumnError("models of the task 'Other' have no metrics")
    if signature.task is Task.REGRESSION:
        if not pd.api.types.is_numeric_dtype(truth.dtype):
            raise ColumnError(f"label column '{truth.name}' must hold numbers")
        value = outputs["value"].reshape(len(truth), -1)[:, 0]
        return Estimated(truth.to_numpy(dtype=np.float64), value.astype(np.float64))
    declared = signature.output("probabilities")
    classes = (declared.classes if declared else None) or ()
    actual = class_positions(as_texts(truth), classes)
    if (actual < 0).any():
        stranger = as_texts(truth)[actual < 0][0]
        raise ColumnError(f"label column '{truth.name}' holds '{stranger}', must be one of {', '.join(classes[:20])}")
    return Classified(actual, class_positions(outputs["label"], classes), outputs["probabilities"].astype(np.float64))
