import pytest

from modelyard.controller.engine.settings import Settings, SettingsError, load_settings

REQUIRED = {
    "MODELYARD_NAMESPACE": "modelyard",
    "MODELYARD_TRAINER_IMAGE": "registry.test/trainer:1",
    "MODELYARD_SERVER_IMAGE": "registry.test/server@sha256:00",
}


def test_settings_have_defaults() -> None:
    settings = load_settings(REQUIRED)
    assert (settings.workers, settings.port, settings.watch_namespaces, settings.kubeconfig) == (8, 8080, (), None)
    assert settings.identity


def test_settings_take_flags_before_the_environment() -> None:
    settings = load_settings({**REQUIRED, "MODELYARD_WORKERS": "3", "MODELYARD_PORT": "1"}, ["--workers", "5"])
    assert (settings.workers, settings.port) == (5, 1)


def test_settings_split_namespaces() -> None:
    environ = {**REQUIRED, "MODELYARD_WATCH_NAMESPACES": "b, a,,b"}
    assert load_settings(environ).watch_namespaces == ("b", "a")


def test_settings_take_an_empty_variable_for_absent() -> None:
    assert load_settings({**REQUIRED, "MODELYARD_WORKERS": ""}).workers == 8


def test_settings_name_all_that_is_missing() -> None:
    with pytest.raises(SettingsError, match="MODELYARD_NAMESPACE, MODELYARD_SERVER_IMAGE: must be set"):
        load_settings({"MODELYARD_TRAINER_IMAGE": "x"})


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("NAMESPACE", "Modelyard", "the name of a namespace"),
        ("WATCH_NAMESPACES", "a,b/c", "the name of a namespace"),
        ("TRAINER_IMAGE", "-x", "an image reference such as registry/name:tag"),
        ("IMAGE_PULL_POLICY", "always", "one of IfNotPresent, Always, Never"),
        ("WORKERS", "0", "a whole number from 1 to 256"),
        ("WORKERS", "two", "a whole number from 1 to 256"),
        ("PORT", "65536", "a whole number from 0 to 65535"),
        ("LOG_LEVEL", "TRACE", "one of DEBUG, INFO, WARNING, ERROR"),
        ("IDENTITY", "a b", "1 to 253 printable ASCII characters without spaces"),
    ],
)
def test_settings_say_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({**REQUIRED, f"MODELYARD_{variable}": value})
    assert str(error.value).startswith(f"MODELYARD_{variable}: must be {allowed}, got '")


def test_settings_refuse_a_renew_deadline_that_is_too_long() -> None:
    with pytest.raises(SettingsError, match=r"less than MODELYARD_LEASE_DURATION_SECONDS \(10\), got '10'"):
        load_settings({**REQUIRED, "MODELYARD_LEASE_DURATION_SECONDS": "10"})


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load_settings(REQUIRED).workers = 1  # type: ignore[misc]  # that is the point


def test_settings_can_be_made_in_code() -> None:
    assert Settings(namespace="a", trainer_image="b", server_image="c").image_pull_policy == "IfNotPresent"
