"""Conversion of scikit-learn's histogram gradient boosting, around two faults of skl2onnx 1.20."""

import copy
from typing import Any, Final

import numpy as np
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common._registration import get_converter
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

_FLOATS: Final = frozenset({"nodes_values", "nodes_hitrates"})


class _PlainNumbers:
    """A container of ONNX nodes that takes flags as the integers that they are in ONNX."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *args: Any, **attributes: Any) -> None:
        """Add a node; skl2onnx mixes Python booleans into `nodes_missing_value_tracks_true`, which protobuf refuses."""
        for name, values in attributes.items():
            if name.startswith("nodes_") and name != "nodes_modes":
                attributes[name] = [float(value) if name in _FLOATS else int(value) for value in values]
        self._container.add_node(*args, **attributes)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    fitted = operator.raw_operator
    operator.raw_operator = _with_float_thresholds(fitted)
    get_converter(sklearn_operator_name_map[type(fitted)])(scope, operator, _PlainNumbers(container))
    operator.raw_operator = fitted


def _with_float_thresholds(fitted: Any) -> Any:
    """Return a copy with float32 thresholds that split float32 values alike.

    A threshold is a value that was seen, or the middle of two. The nearest float32 serves both, but for the middle of
    two neighbours: that rounds to either of them, and must be the lower one.
    """
    rounded = copy.deepcopy(fitted)
    for tree in (tree for trees in rounded._predictors for tree in trees):  # noqa: SLF001 - no public access to trees
        exact = tree.nodes["num_threshold"]
        nearest = exact.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
        with np.errstate(invalid="ignore"):  # A split into missing and present ones has an infinite threshold.
            halfway = nearest.astype(np.float64) - exact == exact - below.astype(np.float64)
        tree.nodes["num_threshold"] = np.where(halfway, below, nearest)
    return rounded


CONVERTERS: Final = {HistGradientBoostingClassifier: _convert, HistGradientBoostingRegressor: _convert}
