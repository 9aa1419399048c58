"""A pickle gets what is on the list. Each of these tries to get more, and must leave no trace."""

import gzip
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from typing_extensions import override

from modelyard.conversion.allowed import ALLOWED
from modelyard.conversion.errors import ConversionError, PickleRefused, VersionMismatch
from modelyard.conversion.unpickling import load_estimator

TRACE = "modelyard-test-trace"
TOUCH = f"touch {TRACE}"
PROTO = b"\x80\x04"


class Call:
    """Unpickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    @override
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def text(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    """Return opcodes that call a name."""
    return name(module, attribute) + b"(" + b"".join(arguments) + b"tR"


def joblib_bytes(value: Any) -> bytes:
    stream = io.BytesIO()
    joblib.dump(value, stream)
    return stream.getvalue()


EVIL: dict[str, tuple[bytes, str]] = {
    "os.system": (pickle.dumps(Call(os.system, TOUCH)), "posix.system"),
    "eval": (pickle.dumps(Call(eval, f"open('{TRACE}', 'w')")), "builtins.eval"),
    "exec": (pickle.dumps(Call(exec, f"open('{TRACE}', 'w')")), "builtins.exec"),
    "open": (PROTO + call("builtins", "open", text(TRACE), text("w")) + b".", "builtins.open"),
    "import": (PROTO + call("builtins", "__import__", text("os")) + b".", "builtins.__import__"),
    "getattr": (PROTO + call("builtins", "getattr", name("numpy", "dtype"), text("mro")) + b".", "builtins.getattr"),
    "attrgetter": (PROTO + call("operator", "attrgetter", text("system")) + b".", "operator.attrgetter"),
    "partial": (PROTO + name("functools", "partial") + b".", "functools.partial"),
    "bytearray": (PROTO + name("builtins", "bytearray") + b".", "builtins.bytearray"),
    "subprocess": (PROTO + call("subprocess", "Popen", text(TOUCH)) + b".", "subprocess.Popen"),
    "call in a call": (
        PROTO + name("numpy", "dtype") + call("os", "system", text(TOUCH)) + b"\x85R.",
        "os.system",
    ),
    "call in a tuple in a dict": (pickle.dumps({"a": [(1, Call(os.system, TOUCH))]}), "posix.system"),
    "dotted name": (PROTO + name("numpy", "dtype.mro") + b".", "numpy.dtype.mro"),
    "dunder beneath a listed class": (
        PROTO + name("sklearn.pipeline", "Pipeline.__init__.__globals__") + b".",
        "Pipeline.__init__.__globals__",
    ),
    "module of a listed package": (PROTO + name("numpy", "load") + b".", "numpy.load"),
    "function of a listed module": (PROTO + name("sklearn.pipeline", "make_pipeline") + b".", "make_pipeline"),
    "listed name, other module": (PROTO + name("sklearn.utils", "Pipeline") + b".", "sklearn.utils.Pipeline"),
    "module that begins like a listed one": (PROTO + name("numpyx", "dtype") + b".", "numpyx.dtype"),
    "names from the memo": (
        PROTO + text("os") + b"\x94" + text("system") + b"\x94" + b"00h\x00h\x01\x93" + text(TOUCH) + b"\x85R.",
        "os.system",
    ),
    "names that are put together by GLOBAL": (PROTO + b"cos\nsystem\n" + text(TOUCH) + b"\x85R.", "os.system"),
    "Python 2 name": (b"\x80\x02c__builtin__\neval\n.", "builtins.eval"),
    "INST": (PROTO + b"(" + text(TOUCH) + b"ios\nsystem\n.", "os.system"),
    "OBJ": (PROTO + b"(" + name("os", "system") + text(TOUCH) + b"o.", "os.system"),
    "NEWOBJ": (PROTO + name("subprocess", "Popen") + b")\x81.", "subprocess.Popen"),
    "NEWOBJ_EX": (PROTO + name("subprocess", "Popen") + b")}\x92.", "subprocess.Popen"),
    "persistent id": (PROTO + b"Pos.system\n.", "persistent"),
    "binary persistent id": (PROTO + text("os.system") + b"Q.", "persistent"),
    "EXT1": (PROTO + b"\x82\x01.", "extension code 1"),
    "EXT2": (PROTO + b"\x83\x01\x01.", "extension code 257"),
    "EXT4": (PROTO + b"\x84\x01\x00\x00\x00.", "extension code 1"),
    "state of a class": (
        PROTO + name("sklearn._loss.link", "Interval") + b"N}" + text("low") + b"K\x01s\x86b.",
        "Interval",
    ),
    "state of a function": (PROTO + name("_codecs", "encode") + b"N}" + text("x") + b"K\x01s\x86b.", "function"),
    "codec": (PROTO + call("_codecs", "encode", text("x"), text("zlib")) + b".", "'zlib'"),
    "callable as an argument": (
        PROTO + call("numpy.random._pickle", "__randomstate_ctor", text(TOUCH), name("os", "system")) + b".",
        "os.system",
    ),
    "function of an estimator": (
        pickle.dumps(make_pipeline(FunctionTransformer(os.system), StandardScaler())),
        "posix.system",
    ),
    "objects in an array": (pickle.dumps(np.array([Call(os.system, TOUCH)], dtype=object)), "posix.system"),
    "objects in an array of joblib": (joblib_bytes(np.array([Call(os.system, TOUCH)], dtype=object)), "posix.system"),
    "inside a compressed file": (gzip.compress(pickle.dumps(Call(os.system, TOUCH))), "posix.system"),
    "second pickle in the array of another": (
        joblib_bytes({"a": np.array([np.array([Call(os.system, TOUCH)], dtype=object), None], dtype=object)}),
        "posix.system",
    ),
    "control characters in a name": (PROTO + name("os\x1b[2J", "system") + b".", "os?[2J.system"),
}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Any]:
    monkeypatch.chdir(tmp_path)

    def load(data: bytes) -> Any:
        path = tmp_path / "model.pkl"
        path.write_bytes(data)
        return load_estimator(path)

    return load


@pytest.mark.parametrize("case", EVIL)
def test_pickle_that_asks_for_more_is_refused_by_the_name(
    load: Callable[[bytes], Any], tmp_path: Path, case: str
) -> None:
    data, named = EVIL[case]
    with pytest.raises(ConversionError) as refused:
        load(data)
    assert named in str(refused.value)
    assert not (tmp_path / TRACE).exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"cos\nsystem\n(S'touch x'\ntR.",
        PROTO,
        PROTO + b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
        PROTO + b"\x95" + struct.pack("<Q", 2**62) + b".",
        PROTO + b"h\x05.",
        PROTO + b"tR.",
        PROTO + b"\xff.",
        b"\x78\x9c broken",
        b"\x1f\x8b broken",
        pickle.dumps(LogisticRegression())[:-20],
        joblib_bytes(np.zeros(100))[:-50],
    ],
)
def test_malformed_pickle_is_refused(load: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(PickleRefused):
        load(data)


def test_deep_pickle_is_no_estimator(load: Callable[[bytes], Any]) -> None:
    with pytest.raises(ConversionError, match=r"builtins\.tuple"):
        load(PROTO + b")" + b"\x85" * 100_000 + b".")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"model": LogisticRegression()}, "must hold one fitted estimator"),
        (StandardScaler(), "must hold one fitted estimator"),
        (GridSearchCV(LogisticRegression(), {}), "GridSearchCV cannot be converted: pickle its `best_estimator_`"),
    ],
)
def test_what_is_no_convertible_estimator_is_refused_with_what_to_do(
    load: Callable[[bytes], Any], value: Any, said: str
) -> None:
    with pytest.raises(ConversionError, match=said) as refused:
        load(pickle.dumps(value))
    assert refused.value.reason == "NotConvertible"


def test_estimators_of_other_libraries_are_named(load: Callable[[bytes], Any]) -> None:
    with pytest.raises(ConversionError, match=r"xgboost\.sklearn\.XGBClassifier .*save_onnx"):
        load(PROTO + name("xgboost.sklearn", "XGBClassifier") + b".")


@pytest.mark.parametrize("version", ["1.2.2", "0.24.1", "99.0"])
def test_pickle_of_another_scikit_learn_names_both_versions(load: Callable[[bytes], Any], version: str) -> None:
    """Even where a name that it needs is not on the list any more."""
    here = sklearn.__version__.encode()
    data = pickle.dumps({"a": LogisticRegression().fit([[0.0], [1.0]], [0, 1]), "b": 1}, protocol=2)
    assert here in data
    other = data.replace(
        struct.pack("<I", len(here)) + here, struct.pack("<I", len(version)) + version.encode()
    ).replace(b"_logistic", b"_gone")
    with pytest.raises(VersionMismatch, match=rf"scikit-learn {version}, the converter has {sklearn.__version__}"):
        load(other)


@pytest.mark.parametrize(
    "dump",
    [
        lambda model: pickle.dumps(model, 2),
        lambda model: pickle.dumps(model, 4),
        lambda model: pickle.dumps(model, 5),
        joblib_bytes,
        *(lambda model, how=how: _compressed(model, how) for how in ("zlib", "gzip", "bz2", "lzma", "xz")),
    ],
)
def test_estimator_survives_every_way_to_write_it(load: Callable[[bytes], Any], dump: Callable[[Any], bytes]) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    model = make_pipeline(StandardScaler(), LogisticRegression(random_state=np.random.RandomState(1)))
    model.fit(rows, np.where(rows[:, 0] > 0, "yes", "no").astype(object))
    np.testing.assert_array_equal(load(dump(model)).predict_proba(rows), model.predict_proba(rows))


def _compressed(model: Any, how: str) -> bytes:
    stream = io.BytesIO()
    joblib.dump(model, stream, compress=(how, 3))
    return stream.getvalue()


def test_every_listed_name_exists() -> None:
    missing = []
    for module, attribute in sorted(ALLOWED):
        found = __import__(module, fromlist=[attribute])
        if not hasattr(found, attribute):
            missing.append(f"{module}.{attribute}")
    assert missing == []
