"""A private certificate authority and what it signs, by the openssl command."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from dev.cluster.errors import ClusterError

_DAYS = "3650"


@dataclass(frozen=True)
class KeyPair:
    """A private key and its certificate, both PEM files."""

    key: Path
    certificate: Path


class Authority:
    """Issues key pairs into a folder; what is already there is kept."""

    def __init__(self, folder: Path) -> None:
        if not shutil.which("openssl"):
            raise ClusterError(
                "openssl is not installed; it makes the cluster's certificates (apt-get install openssl)"
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self.root = self._issue(
            "ca",
            "/CN=modelyard-local-ca",
            ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"],
        )

    def server(self, name: str, hosts: Sequence[str]) -> KeyPair:
        """Issue a certificate for host names and addresses."""
        alternatives = ",".join(f"{_kind(host)}:{host}" for host in hosts)
        return self._issue(name, f"/CN={name}", _leaf("serverAuth", f"subjectAltName={alternatives}"))

    def client(self, name: str, user: str, group: str | None = None) -> KeyPair:
        """Issue a certificate that Kubernetes reads as a user and a group."""
        subject = f"/O={group}/CN={user}" if group else f"/CN={user}"
        return self._issue(name, subject, _leaf("clientAuth"))

    def signing_key(self, name: str) -> KeyPair:
        """Issue a key pair that signs tokens."""
        return self._issue(name, f"/CN={name}", ["keyUsage=critical,digitalSignature"])

    def _issue(self, name: str, subject: str, extensions: Sequence[str]) -> KeyPair:
        pair = KeyPair(self._folder / f"{name}.key", self._folder / f"{name}.crt")
        if pair.certificate.exists():
            return pair
        partial = pair.certificate.with_suffix(".partial")
        signer = [] if name == "ca" else ["-CA", str(self.root.certificate), "-CAkey", str(self.root.key)]
        configuration = "\n".join(
            ["[req]", "distinguished_name=dn", "x509_extensions=extensions", "[dn]", "[extensions]", *extensions]
        )
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-config", "/dev/stdin", "-subj", subject, "-days", _DAYS, *signer),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"),
                *("-keyout", str(pair.key), "-out", str(partial)),
            ],
            input=configuration.encode(),
            check=True,
            capture_output=True,
        )
        # Renamed last: a certificate that exists has its key.
        partial.replace(pair.certificate)
        return pair


def _leaf(usage: str, *more: str) -> list[str]:
    return [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
        *more,
    ]


def _kind(host: str) -> str:
    try:
        ip_address(host)
    except ValueError:
        return "DNS"
    return "IP"
