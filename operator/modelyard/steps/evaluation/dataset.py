"""The judged rows: where they are, what they hash to, and their columns."""

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modelyard.conversion.runtime import OnnxModel
from modelyard.conversion.tensors import Tensors, as_texts
from modelyard.statistics.ranking import Integers
from modelyard.steps.evaluation.errors import DatasetInvalid
from modelyard.steps.tables import TableError, read_table
from modelyard.storage.manifests import FileEntry, Manifest

CHUNK_ROWS: Final = 65_536


def locate(output: Path, dataset: str) -> Path:
    """Return the folder or file that `evaluation.dataset` names in the output.

    Raises:
        DatasetInvalid: it is not there.
    """
    inner = dataset.partition("/")[2]
    found = output / inner
    if not found.exists():
        raise DatasetInvalid(f"evaluation.dataset: the output '{dataset.partition('/')[0]}' holds no '{inner}'")
    return found


def digest_of(rows: Path) -> str:
    """Return the digest of a folder's manifest, or of a file's bytes."""
    if rows.is_file():
        return f"sha256:{_sha256(rows)}"
    files = (path for path in rows.rglob("*") if path.is_file())
    return Manifest.of(
        FileEntry(path.relative_to(rows).as_posix(), _sha256(path), path.stat().st_size) for path in files
    ).digest


class JudgedRows:
    """Rows with a label."""

    def __init__(self, rows: Path, label: str, columns: tuple[str, ...]) -> None:
        """Read the rows; those without a label are left out.

        Args:
            rows: a folder of tables, or one.
            label: column of the truth.
            columns: further columns to read, those that exist.

        Raises:
            DatasetInvalid: they cannot be read, or have no label.
        """
        try:
            table = read_table(rows, (label, *columns))
        except TableError as error:
            raise DatasetInvalid(str(error)) from None
        if label not in table.column_names:
            raise DatasetInvalid(f"the judged rows must have the column '{label}', the label of the model's signature")
        self._table = table.filter(table[label].is_valid())
        self._label = label

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._table.num_rows)

    @property
    def truth(self) -> "pd.Series[Any]":
        """The labels."""
        return pd.Series(self._table[self._label].to_pandas(), name=self._label)

    def texts(self, column: str) -> NDArray[np.object_]:
        """Return a column as texts.

        Raises:
            DatasetInvalid: there is no such column.
        """
        if column not in self._table.column_names:
            raise DatasetInvalid(f"the judged rows must have the column '{column}' of evaluation.slices")
        return as_texts(self._table[column].to_pandas())

    def sample(self, positions: Integers) -> "tuple[pd.DataFrame, pd.Series[Any]]":
        """Return all columns of the rows at these positions, and their labels."""
        taken: pd.DataFrame = self._table.take(positions).to_pandas()
        return taken, pd.Series(taken[self._label], name=self._label)

    def predict(self, model: OnnxModel) -> Tensors:
        """Return a model's answers; memory for its inputs is bounded.

        Raises:
            ColumnError: a column is absent or does not fit.
            ConversionError: the runtime refuses them.
        """
        wanted = [
            name for name in (tensor.name for tensor in model.signature.inputs) if name in self._table.column_names
        ]
        table = self._table.select(wanted)
        starts = range(0, max(len(self), 1), CHUNK_ROWS)
        parts = [model.predict(table.slice(start, CHUNK_ROWS).to_pandas()) for start in starts]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
