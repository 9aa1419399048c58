"""From a pickle and sample rows to a model directory. The pickle is a stranger's: call it in a sandbox only."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from modelyard.conversion.directory import write_model_directory
from modelyard.conversion.errors import ColumnError, ConversionError, SamplesInvalid
from modelyard.conversion.sklearn_export import export_estimator
from modelyard.conversion.unpickling import load_estimator

_READERS: Final[Mapping[str, Callable[[Path], Any]]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}
_SHOWN: Final = 10


@dataclass(frozen=True)
class Converted:
    """What became of a pickle."""

    estimator: str
    """Module and name of the estimator, of a pipeline's last one."""
    maximum_difference: float
    """Greatest difference between the answers of both forms: absolute, or relative for values above 1."""
    rows: int
    """Rows on which the answers were compared."""


def convert_pickle(pickle: Path, samples: Path, folder: Path) -> Converted:
    """Write the model directory of a pickled estimator, proven to answer like it on the sample rows.

    Args:
        pickle: file of `pickle.dump` or `joblib.dump`.
        samples: table of rows as the model was trained on; columns that it does not know are ignored.
        folder: where to write; made when it is absent.

    Raises:
        ConversionError: with a reason: the pickle, the samples or the estimator will not do.
        ColumnError: a column of the samples cannot be fed to the model.
    """
    estimator = load_estimator(pickle)
    rows = read_samples(samples)
    name = estimator_name(estimator)
    with warnings.catch_warnings():
        # Versions and names are judged here by stricter rules; what else libraries have to say is for their authors.
        warnings.simplefilter("ignore")
        frame = model_columns(estimator, rows)
        try:
            exported = export_estimator(estimator, frame)
            write_model_directory(folder, exported.onnx, exported.signature, frame)
        except ConversionError as error:
            raise type(error)(f"{name}: {error}") from error
        except (ColumnError, MemoryError):
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            raise ConversionError(f"{name} cannot answer the samples: {type(error).__name__}: {said}") from error
    return Converted(name, exported.greatest_difference, exported.compared_rows)


def estimator_name(estimator: Any) -> str:
    """Return module and name of an estimator, of a pipeline's last one."""
    steps = getattr(estimator, "steps", None)
    kind = type(steps[-1][1] if steps else estimator)
    return f"{kind.__module__}.{kind.__qualname__}"


def read_samples(path: Path) -> pd.DataFrame:
    """Return the sample rows.

    Raises:
        SamplesInvalid: the file cannot be read as what its name says, or has no rows.
    """
    try:
        rows: pd.DataFrame = _READERS[path.suffix](path)
    except Exception as error:
        said = str(error).partition("\n")[0][:200]
        raise SamplesInvalid(f"{path.name} cannot be read: {type(error).__name__}: {said}") from error
    if rows.empty:
        raise SamplesInvalid(f"{path.name} must have at least one row")
    return rows


def model_columns(estimator: Any, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that an estimator was fitted on, in its order, with numbers as precise as servers take them.

    Raises:
        SamplesInvalid: columns are missing, or nobody can say which ones are the model's.
    """
    names = getattr(estimator, "feature_names_in_", None)
    count = getattr(estimator, "n_features_in_", None)
    if names is None and count != len(rows.columns):
        raise SamplesInvalid(
            f"the samples have {len(rows.columns)} columns, must have exactly the {count} that the model was fitted "
            "on: it was fitted without column names"
        )
    wanted = list(rows.columns) if names is None else [str(name) for name in names]
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise SamplesInvalid(
            f"the samples must have the columns that the model was fitted on; missing: {', '.join(missing[:_SHOWN])}"
        )
    columns = {name: rows[name] for name in wanted}
    return pd.DataFrame({name: _as_served(values) for name, values in columns.items()})


def _as_served(values: "pd.Series[Any]") -> "pd.Series[Any]":
    return values.astype(np.float32).astype(values.dtype) if pd.api.types.is_float_dtype(values.dtype) else values
