"""One question to a DNS server: whether it knows the cluster."""

import secrets
import socket
import struct

_TYPE_A = 1
_CLASS_IN = 1
_RECURSION_DESIRED = 0x0100


def resolves(server: str, name: str) -> bool:
    """Whether a DNS server answers with an address for a name just now."""
    identifier = secrets.token_bytes(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = identifier + struct.pack(">5H", _RECURSION_DESIRED, 1, 0, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(0.5)
        try:
            connection.sendto(header + labels + b"\0" + struct.pack(">2H", _TYPE_A, _CLASS_IN), (server, 53))
            answer = connection.recv(512)
        except OSError:
            return False
    answers = struct.unpack(">H", answer[6:8])[0]
    return answer[:2] == identifier and answers > 0
