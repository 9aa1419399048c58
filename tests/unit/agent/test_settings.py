import pytest

from modelyard.agent.settings import Settings, SettingsError, load_settings


def test_settings_come_from_the_environment() -> None:
    environ = {"MODELYARD_NAMESPACE": "air", "MODELYARD_STORE_URI": "s3://b/", "MODELYARD_VERIFY_SECONDS": "60"}
    assert load_settings(environ) == Settings(namespace="air", store_uri="s3://b/", verify_seconds=60)


def test_missing_store_is_no_error() -> None:
    assert load_settings({"MODELYARD_NAMESPACE": "air", "MODELYARD_STORE_URI": ""}).store_uri is None


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({}, "MODELYARD_NAMESPACE"),
        ({"MODELYARD_NAMESPACE": "air", "MODELYARD_VERIFY_SECONDS": "0"}, "MODELYARD_VERIFY_SECONDS"),
        ({"MODELYARD_NAMESPACE": "air", "MODELYARD_INPUT_SECONDS": "soon"}, "MODELYARD_INPUT_SECONDS"),
        ({"MODELYARD_NAMESPACE": "air", "MODELYARD_RESULT_SECONDS": "nan"}, "MODELYARD_RESULT_SECONDS"),
    ],
)
def test_wrong_settings_are_named(environ: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings(environ)
