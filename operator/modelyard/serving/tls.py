"""TLS with the certificate of a mounted Secret; a renewed one is used from the next connection on."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from modelyard.serving.errors import StartError
from modelyard.serving.x509 import expiry

CHECK_SECONDS: Final = 2.0
"""How often the files are looked at; the kubelet itself takes about a minute to bring a renewed Secret."""
_ORIGIN: Final = "TLS is asked for, and in a pod the Secret that `spec.endpoint.tls` names has these files"
_MAX_FILE_BYTES: Final = 1024 * 1024  # of a Secret

_log = logging.getLogger(__name__)


class CertificateError(ValueError):
    """The files are no usable certificate and key; says why."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain and its private key, both PEM.

    Attributes:
        expires: When the certificate expires, in seconds since the epoch.
        context: Serves with this pair.
    """

    certificate: bytes
    key: bytes
    expires: float
    context: ssl.SSLContext


class Tls:
    """The key pair of a folder, `tls.crt` and `tls.key`, as it is now.

    Attributes:
        pair: The newest good one.
        context: For a listener; new connections get `pair`, established ones keep theirs.
    """

    def __init__(self, folder: Path) -> None:
        """Read the files.

        Raises:
            StartError: They are not usable.
        """
        self._folder = folder
        self._problem = ""
        try:
            self._files = _Files.read(folder)
            self.pair = self._files.pair()
        except CertificateError as error:
            raise StartError("InvalidCertificate", f"{folder}: {error}; {_ORIGIN}") from None
        self.context = self.pair.context
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Read the files again; what is not usable is logged once, and the pair before it stays."""
        try:
            files = _Files.read(self._folder)
            if (files.certificate, files.key) == (self._files.certificate, self._files.key):
                return
            self._files = files
            self.pair = files.pair()
        except CertificateError as error:
            if str(error) != self._problem:
                _log.warning("certificate not renewed", extra={"problem": str(error)})
            self._problem = str(error)
        else:
            self._problem = ""
            _log.info("certificate renewed", extra={"expires": self.pair.expires})

    async def watch(self) -> None:
        """Refresh now and then, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.refresh()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called within every handshake, whether the client names a host or not."""
        connection.context = self.pair.context


class ExpiryCollector(Collector):
    """Shows when the certificate that is presented expires."""

    def __init__(self, tls: Tls, deployment: str) -> None:
        self._tls = tls
        self._deployment = deployment

    @override
    def collect(self) -> Iterator[Metric]:
        metric = GaugeMetricFamily(
            "modelyard_tls_certificate_expiry_timestamp_seconds",
            "When the certificate that is presented expires.",
            labels=["deployment"],
        )
        metric.add_metric([self._deployment], self._tls.pair.expires)
        yield metric


@dataclass(frozen=True, slots=True)
class _Files:
    """What the two files hold, and where."""

    folder: Path
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, folder: Path) -> Self:
        # The kubelet swaps this link, so that the files behind it belong together.
        data = folder / "..data"
        current = data.resolve() if data.exists() else folder
        return cls(current, _content(current / "tls.crt"), _content(current / "tls.key"))

    def pair(self) -> KeyPair:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # An encrypted key is refused, not asked about.
            context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key", password=b"")
            return KeyPair(self.certificate, self.key, expiry(self.certificate.decode()), context)
        except ssl.SSLError as error:
            raise CertificateError(f"tls.crt and tls.key are no usable pair: {error.reason or error}") from None
        except OSError as error:
            raise CertificateError(f"the files cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise CertificateError(f"tls.crt: {error}") from None


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise CertificateError(f"{file.name} cannot be read: {error.strerror}") from None
