from pathlib import Path

import pytest

from modelyard.serving.settings import PredictionLogSettings, SettingsError, read_settings

REQUIRED = {
    "MODELYARD_MODEL_NAME": "flight-delay",
    "MODELYARD_MODEL_VERSION": "7",
    "MODELYARD_DEPLOYMENT": "flights",
}
DIGEST = "sha256:" + "0a" * 32


def test_defaults_are_those_of_the_contract() -> None:
    settings = read_settings(REQUIRED)
    assert settings.model_dir == Path("/modelyard/model")
    assert (settings.http_port, settings.metrics_port, settings.address) == (8080, 8081, "")
    assert settings.track == "stable"
    assert (settings.model_digest, settings.objective_seconds) == (None, None)
    assert (settings.max_request_bytes, settings.max_rows) == (16 * 1024 * 1024, 65536)
    assert (settings.timeout_seconds, settings.drain_seconds) == (10, 10)
    assert (settings.grpc_port, settings.tls_dir, settings.device) == (None, None, "cpu")


def test_everything_can_be_set() -> None:
    settings = read_settings(
        REQUIRED
        | {
            "MODELYARD_MODEL_DIR": "/m",
            "MODELYARD_MODEL_DIGEST": DIGEST,
            "MODELYARD_OBJECTIVE_SECONDS": "0.05",
            "MODELYARD_TRACK": "canary",
            "MODELYARD_TIMEOUT_SECONDS": "2.5",
            "MODELYARD_MAX_REQUEST_BYTES": "2048",
            "MODELYARD_MAX_ROWS": "5",
            "MODELYARD_DRAIN_SECONDS": "0",
            "MODELYARD_ADDRESS": "::1",
            "MODELYARD_HTTP_PORT": "1",
            "MODELYARD_METRICS_PORT": "2",
            "MODELYARD_GRPC_PORT": "3",
            "MODELYARD_TLS_DIR": "/t",
            "MODELYARD_DEVICE": "cuda",
        }
    )
    assert (settings.model_dir, settings.track, settings.address) == (Path("/m"), "canary", "::1")
    assert (settings.model_digest, settings.objective_seconds) == (DIGEST, 0.05)
    assert (settings.timeout_seconds, settings.max_request_bytes, settings.max_rows) == (2.5, 2048, 5)
    assert (settings.drain_seconds, settings.http_port, settings.metrics_port) == (0, 1, 2)
    assert (settings.grpc_port, settings.tls_dir, settings.device) == (3, Path("/t"), "cuda")


@pytest.mark.parametrize("name", REQUIRED)
def test_required_variable_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: must be set$"):
        read_settings({key: value for key, value in REQUIRED.items() if key != name})


def test_prediction_log_is_on_when_it_has_a_folder() -> None:
    assert read_settings(REQUIRED | {"MODELYARD_PREDICTION_LOG_PERCENT": "5"}).prediction_log is None
    variables = {
        "MODELYARD_PREDICTION_LOG_DIR": "/spool",
        "MODELYARD_PREDICTION_LOG_PERCENT": "0.5",
        "MODELYARD_PREDICTION_LOG_COLUMNS": '["a", "b", "a"]',
    }
    assert read_settings(REQUIRED | variables).prediction_log == PredictionLogSettings(Path("/spool"), 0.5, ("a", "b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELYARD_MODEL_NAME", ""),
        ("MODELYARD_MODEL_NAME", "a/b"),
        ("MODELYARD_MODEL_NAME", "a\r\nb"),
        ("MODELYARD_MODEL_VERSION", "0"),
        ("MODELYARD_MODEL_VERSION", "v7"),
        ("MODELYARD_MODEL_DIGEST", "0a" * 32),
        ("MODELYARD_MODEL_DIGEST", "sha256:" + "0A" * 32),
        ("MODELYARD_DEPLOYMENT", "-"),
        ("MODELYARD_TRACK", "blue"),
        ("MODELYARD_TIMEOUT_SECONDS", "0"),
        ("MODELYARD_TIMEOUT_SECONDS", "nan"),
        ("MODELYARD_TIMEOUT_SECONDS", "inf"),
        ("MODELYARD_MAX_REQUEST_BYTES", "1023"),
        ("MODELYARD_MAX_REQUEST_BYTES", "16Mi"),
        ("MODELYARD_MAX_ROWS", "1.5"),
        ("MODELYARD_DRAIN_SECONDS", "-1"),
        ("MODELYARD_ADDRESS", "localhost"),
        ("MODELYARD_GRPC_PORT", "x"),
        ("MODELYARD_DEVICE", "gpu"),
        ("MODELYARD_PREDICTION_LOG_PERCENT", "0"),
        ("MODELYARD_PREDICTION_LOG_COLUMNS", "distance"),
        ("MODELYARD_PREDICTION_LOG_COLUMNS", "[1]"),
        ("MODELYARD_HTTP_PORT", "65536"),
    ],
)
def test_value_that_is_not_allowed_is_named_with_what_is(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(REQUIRED | {name: value})
    assert str(refused.value).startswith(f"{name}: must be ")
    assert str(refused.value).endswith(f"got '{value}'")


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({})
    assert str(refused.value).count("must be set") == len(REQUIRED)
