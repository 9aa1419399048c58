import pytest

from modelyard.controller.kinds.deployment.runtime import image_of_version, runtime_version_of

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("server:1", "1"),
        ("server", "latest"),
        ("registry:5000/team/server:0.1.0", "0.1.0"),
        ("registry:5000/team/server", "latest"),
        (f"registry/server:0.1.0@{DIGEST}", DIGEST),
    ],
)
def test_version_is_the_digest_or_the_tag(image: str, version: str) -> None:
    assert runtime_version_of(image) == version


@pytest.mark.parametrize(
    ("image", "version", "expected"),
    [
        ("server:1", "2", "server:2"),
        ("registry:5000/team/server", "2", "registry:5000/team/server:2"),
        ("registry:5000/team/server:1", DIGEST, f"registry:5000/team/server@{DIGEST}"),
        (f"server:1@{DIGEST}", "2", "server:2"),
    ],
)
def test_image_of_a_version_stays_in_the_operators_repository(image: str, version: str, expected: str) -> None:
    assert image_of_version(image, version) == expected
