"""An evaluation in a few words: derived from the record alone, for lists."""

from decimal import Decimal

from modelyard.api.v1alpha1.modelversion import Evaluation
from modelyard.api.v1alpha1.trainingrun import Goal


def score(evaluation: Evaluation) -> str | None:
    """Return the deciding metric and its value, such as "rocAuc 0.7134"; None when it has none."""
    return f"{evaluation.metric} {evaluation.value}" if evaluation.value else None


def comparison(evaluation: Evaluation) -> str | None:
    """Return who is better and by how much, such as "0.0042 better than v6"; None without a champion or a goal."""
    rival = evaluation.champion
    if rival is None or evaluation.value is None or evaluation.goal is None:
        return None
    difference = Decimal(evaluation.value) - Decimal(rival.value)
    if not difference:
        return f"equal to v{rival.version}"
    better = (difference > 0) == (evaluation.goal is Goal.MAXIMIZE)
    return f"{abs(difference).normalize():f} {'better' if better else 'worse'} than v{rival.version}"
