import ssl
import subprocess
from pathlib import Path

import pytest

from modelyard.serving.x509 import expiry


def _certificate(folder: Path, *options: str) -> str:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run([*command, "-subj", "/CN=x", *files, *options], check=True, capture_output=True, timeout=10)
    return (folder / "certificate").read_text()


@pytest.mark.parametrize("days", ["1", "20000"], ids=["UTCTime", "GeneralizedTime"])
def test_expiry_is_the_one_that_openssl_shows(tmp_path: Path, days: str) -> None:
    pem = _certificate(tmp_path, "-days", days)
    command = ["openssl", "x509", "-enddate", "-noout", "-in", str(tmp_path / "certificate")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    expected = ssl.cert_time_to_seconds(shown.strip().removeprefix("notAfter="))
    assert expiry(pem) == expected
    assert expiry(f"comment\n{pem}{pem}") == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nAAAA"],
)
def test_text_without_a_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no PEM certificate"):
        expiry(text)
