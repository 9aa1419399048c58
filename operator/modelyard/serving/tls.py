"""TLS with the certificate of a mounted Secret; a renewed one is used from the next connection on."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelyard.serving.errors import StartError
from modelyard.serving.x509 import expiry

CHECK_SECONDS: Final = 5.0
"""How often the files are looked at; the kubelet itself takes about a minute to bring a renewed Secret."""
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
            self.pair = _read(folder)
        except CertificateError as error:
            raise StartError("InvalidCertificate", f"TLS is asked for, but {error}") from None
        self.context = self.pair.context
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Read the files again; what is not usable is logged once, and the pair before it stays."""
        problem = ""
        try:
            pair = _read(self._folder)
        except CertificateError as error:
            problem = str(error)
            if problem != self._problem:
                _log.warning("certificate not renewed", extra={"problem": problem})
        else:
            if (pair.certificate, pair.key) != (self.pair.certificate, self.pair.key):
                self.pair = pair
                _log.info("certificate renewed", extra={"expires": pair.expires})
        self._problem = problem

    async def watch(self) -> None:
        """Refresh now and then, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.refresh()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called within every handshake, whether the client names a host or not."""
        connection.context = self.pair.context


def _read(folder: Path) -> KeyPair:
    # The kubelet swaps this link, so that the files behind it belong together.
    data = folder / "..data"
    folder = data.resolve() if data.exists() else folder
    certificate, key = folder / "tls.crt", folder / "tls.key"
    try:
        content = _content(certificate), _content(key)
        return KeyPair(*content, expiry(content[0].decode()), _context(certificate, key))
    except ssl.SSLError as error:
        raise CertificateError(f"tls.crt and tls.key in {folder} are no usable pair: {error.reason or error}") from None
    except OSError as error:
        raise CertificateError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CertificateError(f"{certificate}: {error}") from None


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_MAX_FILE_BYTES)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key, password=b"")  # an encrypted key is refused, not asked about
    return context
