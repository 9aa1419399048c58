"""When a certificate expires, which the standard library does not say about a file."""

import ssl
from datetime import UTC, datetime
from typing import Final

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_LONG_LENGTH: Final = 0x80
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def expiry(pem: str) -> float:
    """Return when the first certificate of a PEM file expires, in seconds since the epoch.

    Raises:
        ValueError: There is no certificate in it.
    """
    begin, end = pem.find(_BEGIN), pem.find(_END)
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)])
        tag, time = _validity(der)[1]
        pattern = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(time.decode("ascii"), pattern).replace(tzinfo=UTC).timestamp()
    except (ValueError, IndexError):
        raise ValueError("no PEM certificate") from None


def _validity(certificate: bytes) -> list[tuple[int, bytes]]:
    """Return the field `validity` of a certificate (RFC 5280, 4.1)."""
    signed = _elements(_elements(_elements(certificate)[0][1])[0][1])
    has_version = signed[0][0] == _VERSION
    return _elements(signed[4 if has_version else 3][1])  # after serial number, signature algorithm and issuer


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each DER element in `der`."""
    elements = []
    position = 0
    while position < len(der):
        tag, length = der[position], der[position + 1]
        position += 2
        if length & _LONG_LENGTH:
            size = length & ~_LONG_LENGTH
            length = int.from_bytes(der[position : position + size], "big")
            position += size
        elements.append((tag, der[position : position + length]))
        position += length
    return elements
