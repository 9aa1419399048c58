import hashlib
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.storage.packs import PackLimits, PackTooLarge, check_pack

BLOB, OFS_DELTA, REF_DELTA = 3, 6, 7
LIMITS = PackLimits(objects=10, object_bytes=1000)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _object(kind: int, data: bytes, size: int | None = None, base: bytes = b"") -> bytes:
    size = len(data) if size is None else size
    first, rest = kind << 4 | size & 15, size >> 4
    header = bytes([first | 128]) + _varint(rest) if rest else bytes([first])
    return header + base + zlib.compress(data)


def _pack(*objects: bytes, count: int | None = None) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + (len(objects) if count is None else count).to_bytes(4, "big")
    body += b"".join(objects)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _delta(result: int) -> bytes:
    return _varint(10) + _varint(result) + b"\x90\x01"


def test_pack_within_its_limits_passes() -> None:
    objects = [
        _object(BLOB, b""),
        _object(BLOB, b"x" * 1000),
        _object(OFS_DELTA, _delta(1000), base=b"\x81\x05"),
        _object(REF_DELTA, _delta(7), base=bytes(20)),
    ]
    check_pack(_pack(*objects), LIMITS)
    check_pack(memoryview(_pack(*objects)), LIMITS)


@pytest.mark.parametrize(
    "pack",
    [
        _pack(_object(BLOB, b"x" * 1001)),
        _pack(_object(BLOB, b"x", size=2**40)),
        _pack(_object(OFS_DELTA, _delta(1001), base=b"\x05")),
        _pack(_object(REF_DELTA, _delta(2**40), base=bytes(20))),
        _pack(count=11),
    ],
)
def test_pack_beyond_its_limits_is_refused(pack: bytes) -> None:
    with pytest.raises(PackTooLarge, match="at most"):
        check_pack(pack, LIMITS)


@pytest.mark.parametrize(
    "pack",
    [
        b"",
        b"PACK",
        bytes(100),
        _pack(_object(BLOB, b"x" * 900, size=10)),
        _pack(_object(BLOB, b"x", size=10)),
        _pack(_object(BLOB, b"x"), count=2),
        _pack(_object(BLOB, b"x" * 500)[:-4])[:-20],
    ],
)
def test_what_is_no_pack_is_refused(pack: bytes) -> None:
    with pytest.raises(ValueError, match=r"pack|announced|long"):
        check_pack(pack, LIMITS)


@given(st.binary(max_size=100), st.integers(1, 3))
def test_anything_is_refused_or_passes(data: bytes, count: int) -> None:
    with suppress(ValueError):
        check_pack(_pack(data, count=count), LIMITS)
