"""Reading a pickle that a stranger may have written: it gets what is on a list of exact names, and nothing else.

Plain pickles and those of joblib, compressed or not. The reader is Python's own in its Python form, since joblib puts
the bytes of arrays between the opcodes.
"""

import bz2
import gzip
import importlib
import io
import lzma
import math
import pickle
import re
import warnings
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import IO, Any, ClassVar, Final

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from typing_extensions import override

from modelyard.conversion.allowed import ALLOWED
from modelyard.conversion.errors import ConversionError, PickleRefused, VersionMismatch

MAX_BYTES: Final = 1024 * 1024 * 1024
"""Greatest size of a pickle, compressed or not."""

_RENAMED: Final = {
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
_OTHER_LIBRARIES: Final = frozenset({"catboost", "keras", "lightgbm", "tensorflow", "torch", "xgboost"})
_ADVICE: Final = {
    "GridSearchCV": "pickle its `best_estimator_`",
    "RandomizedSearchCV": "pickle its `best_estimator_`",
    "TunedThresholdClassifierCV": "pickle its `estimator_`",
}
_OTHERWISE: Final = (
    "use an estimator that docs/conversion.md lists, or export the model to ONNX yourself and save it with "
    "modelyard.sdk.save_onnx"
)
_WRITTEN_BY: Final = re.compile(rb"_sklearn_version.{0,12}?(\d{1,3}\.\d{1,3}(?:\.\d{1,3})?)", re.DOTALL)
_SHOWN: Final = 120


def load_estimator(path: Path) -> Any:
    """Return the fitted estimator of a pickle.

    Args:
        path: file written by `pickle.dump` or `joblib.dump`.

    Raises:
        PickleRefused: it is malformed, or names something that is not on the list; nothing of that was run.
        VersionMismatch: another version of scikit-learn wrote it.
        ConversionError: it holds something other than an estimator that can be converted.
    """
    data = _decompressed(path)
    for version in {found.decode() for found in _WRITTEN_BY.findall(data)}:
        _check_version(version)
    loaded = _loaded(data)
    if not isinstance(loaded, BaseEstimator) or not hasattr(loaded, "predict"):
        kind = f"{type(loaded).__module__}.{type(loaded).__qualname__}"
        raise ConversionError(f"the pickle holds a {kind}, must hold one fitted estimator or pipeline that predicts")
    return loaded


def _loaded(data: bytes) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded = _Reader(io.BytesIO(data)).load()
        except (ConversionError, MemoryError):
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:_SHOWN]
            raise PickleRefused(f"the pickle cannot be read: {type(error).__name__}: {said}") from error
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            _check_version(str(warning.message.original_sklearn_version))
    return loaded


def _check_version(version: str) -> None:
    """Refuse other minor versions: estimators keep private state, which changes between them."""
    here = str(sklearn.__version__)
    if version.split(".")[:2] != here.split(".")[:2]:
        raise VersionMismatch(
            f"the pickle was written with scikit-learn {version[:_SHOWN]}, the converter has {here}, and pickles are "
            f"readable by the version alone that wrote them: fit the model with scikit-learn {here}, or save it where "
            "it was fitted with modelyard.sdk.save_model"
        )


def _decompressed(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.peek(_MAGIC_BYTES)
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        if opener is None:
            raise PickleRefused(
                "must be a file of pickle.dump or joblib.dump with protocol 2 or higher (joblib compresses by zlib, "
                "gzip, bz2, lzma or xz)"
            )
        try:
            with opener(file) as stream:
                data: bytes = stream.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise PickleRefused(f"the compressed pickle cannot be read: {error}") from error
    if len(data) > MAX_BYTES:
        raise PickleRefused(f"the pickle must have at most {MAX_BYTES} bytes, uncompressed")
    return data


def _zlib(file: IO[bytes]) -> IO[bytes]:
    return io.BytesIO(zlib.decompressobj().decompress(file.read(MAX_BYTES), MAX_BYTES + 1))


_MAGIC_BYTES: Final = 6
_OPENERS: Final[Mapping[bytes, Callable[[IO[bytes]], Any]]] = {
    pickle.PROTO: nullcontext,
    b"\x78": _zlib,
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00": lzma.open,
}


class _ArrayAhead:
    """Stands for joblib's wrapper: the array whose bytes follow in the file."""

    dtype: Any
    shape: Any
    order: Any
    numpy_array_alignment_bytes: Any = None


def _latin1(text: str, encoding: str) -> bytes:
    """Stand for `_codecs.encode`, by which the older protocols write bytes."""
    if encoding != "latin1":
        raise PickleRefused(f"the pickle encodes bytes as '{encoding[:_SHOWN]}', must be 'latin1'")
    return text.encode(encoding)


_STAND_INS: Final[Mapping[tuple[str, str], Any]] = {
    ("_codecs", "encode"): _latin1,
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _ArrayAhead,
}
_DEFINITIONS: Final = (type, FunctionType, BuiltinFunctionType, ModuleType)


_Python = pickle._Unpickler  # noqa: SLF001 - the documented one is in C, where opcodes cannot be replaced
_build: Final[Callable[[Any], None]] = _Python.dispatch[pickle.BUILD[0]]


class _Reader(_Python):
    """Python's unpickler with the list in the way of every name."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {**_Python.dispatch}
    stack: list[Any]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._file = file

    @override
    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names.

        Raises:
            ConversionError: it is not on the list.
        """
        pair = (_RENAMED.get(module, module), name)
        if pair in _STAND_INS:
            return _STAND_INS[pair]
        if pair not in ALLOWED:
            raise _refusal(*pair)
        return getattr(importlib.import_module(pair[0]), name)

    def get_extension(self, code: int) -> None:
        """Refuse extension codes: they stand for names that are looked up elsewhere."""
        raise PickleRefused(f"the pickle uses the extension code {code}, must use none")

    def load_build(self) -> None:
        """Give an object its state; joblib's wrapper becomes the array that follows it."""
        if isinstance(self.stack[-2], _DEFINITIONS):
            raise PickleRefused(f"the pickle changes {self.stack[-2]!r:.{_SHOWN}}, must change its own objects only")
        _build(self)
        if isinstance(self.stack[-1], _ArrayAhead):
            self.stack[-1] = self._array(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    def _array(self, ahead: _ArrayAhead) -> NDArray[Any]:
        dtype, shape = ahead.dtype, ahead.shape
        if not isinstance(dtype, np.dtype) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise PickleRefused("an array of the pickle must have a dtype and a shape")
        if dtype.hasobject:
            nested: NDArray[Any] = _Reader(self._file).load()
            return nested
        if ahead.numpy_array_alignment_bytes is not None:
            self._file.read(self._file.read(1)[0])
        data = bytearray(self._file.read(math.prod(shape) * dtype.itemsize))
        return np.frombuffer(data, dtype).reshape(shape, order="F" if ahead.order == "F" else "C")


def _refusal(module: str, name: str) -> ConversionError:
    shown = f"{module}.{name}"
    shown = "".join(character if character.isprintable() else "?" for character in shown)[:_SHOWN]
    library = module.partition(".")[0]
    if library in _OTHER_LIBRARIES or (library == "sklearn" and name[:1].isupper()):
        return ConversionError(f"{shown} cannot be converted: {_ADVICE.get(name, _OTHERWISE)}")
    return PickleRefused(
        f"the pickle asks for {shown}, which no model on the list needs; nothing was run. Own classes and functions "
        f"cannot be converted: {_OTHERWISE}"
    )
