"""The bounds that a listener lives within."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one listener; sizes in bytes, times in seconds.

    Attributes:
        buffered_bytes: Request bodies held by all connections together.
        pipelined: Complete requests that wait behind the one being answered before reading stops.
        idle_seconds: Longer than proxies keep a connection (75 s), so that they are the ones to close it.
        linger_seconds: For a client to read the last answer before the socket closes.
    """

    body_bytes: int
    buffered_bytes: int
    header_bytes: int = 32 * 1024
    connections: int = 1024
    pipelined: int = 16
    handshake_seconds: float = 5.0
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    write_seconds: float = 30.0
    idle_seconds: float = 90.0
    linger_seconds: float = 2.0
    sweep_seconds: float = 1.0
