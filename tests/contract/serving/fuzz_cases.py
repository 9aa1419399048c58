"""Connections' worth of requests for the fuzz test, each with what may be answered; reproducible from a seed.

Every inference request carries an id of its own, which its answer repeats: so an answer says which request it is for.
"""

import copy
import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

HIDDEN: Final = "hidden"
"""The id of a request in a place where none is: it must never be answered."""
ERROR: Final = "error"
HEAD: Final = "head"
ANY: Final = "any"
"""Stands for whatever label an answer has."""
HEADER_LIMIT: Final = 32 * 1024
BODY_LIMIT: Final = 64 * 1024
"""What the server under test is told to take."""
ROWS_LIMIT: Final = 8

_STRUCTS: Final = dict(
    zip(
        ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"),
        "?BHIQbhiqefd",
        strict=True,
    )
)
_ODD_VALUES: Final[Sequence[Any]] = (
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    float("nan"),
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**400,
    "",
    "x" * 2000,
    "\x00",
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"name": HIDDEN},
    [True, 1.0],
)
_ODD_LENGTHS: Final = ("", "-1", "+1", "0", "1", "1e3", "0x10", "9" * 5000, "0" * 5000 + "1", "18446744073709551616")


class More(Enum):
    """What may follow the answers that must come."""

    NOTHING = auto()
    ONE_ERROR = auto()
    ANYTHING = auto()


@dataclass(frozen=True)
class Case:
    """What one connection sends, piece by piece, before it closes its side.

    Attributes:
        labels: Of the answers that must come first: the id of an inference, else as `label_of` says.
        ids: Of the requests sent, in order: their answers must not come in another one.
        resets: The client resets the connection instead of reading.
    """

    name: str
    pieces: tuple[bytes, ...]
    labels: tuple[str, ...] = ()
    more: More = More.NOTHING
    ids: tuple[str, ...] = ()
    resets: bool = False


@dataclass
class Model:
    """The model under test, as its metadata says."""

    path: str
    inputs: Sequence[Mapping[str, Any]]

    def gets(self) -> Mapping[str, str]:
        """Targets to get, and the labels of their answers."""
        return {
            "/v2": "extensions,name,version",
            "/v2/health/live": "live",
            "/v2/health/ready?a=b": "ready",
            self.path: "inputs,name,outputs,platform,versions",
            f"{self.path}/ready": "name,ready",
            "/openapi.json": "openapi",
            "/nothing": ERROR,
            f"{self.path}/infer": ERROR,
        }


def label_of(status: int, document: Mapping[str, Any]) -> str:
    """Return what an answer is, from its content alone."""
    if status >= 400:
        return ERROR
    if "model_name" in document:
        return str(document.get("id", "without id"))
    return "openapi" if "openapi" in document else ",".join(sorted(document))


@dataclass
class Cases:
    """An endless source of cases."""

    source: random.Random
    model: Model
    _count: int = field(default=0, init=False)

    def next(self) -> Case:
        """Return the next case."""
        families: Sequence[tuple[Callable[[], Case], int]] = (
            (self._valid, 6),
            (self._mutated, 8),
            (self._odd_content, 8),
            (self._hiding, 8),
            (self._too_large, 2),
            (self._reset, 2),
        )
        makers, weights = zip(*families, strict=True)
        maker: Callable[[], Case] = self.source.choices(makers, weights)[0]
        return maker()

    def witness(self) -> bytes:
        """Return the body of a valid request."""
        return self._body("witness")

    # Families.

    def _valid(self) -> Case:
        """Pipelined requests, in pieces of any size."""
        requests = [self._request() for _ in range(self.source.choice((1, 1, 2, 3, 8, 40)))]
        data = b"".join(data for data, _ in requests)
        every_byte = len(data) < 4000 and self.source.random() < 0.1
        pieces = tuple(bytes([byte]) for byte in data) if every_byte else self._cut(data)
        return Case("valid", pieces, tuple(label for _, label in requests))

    def _mutated(self) -> Case:
        """Valid requests with some bytes changed, lost, repeated or cut off."""
        requests = [self._request(heads=False) for _ in range(self.source.choice((1, 2, 4)))]
        data = bytearray(b"".join(data for data, _ in requests))
        for _ in range(self.source.choice((1, 1, 2, 5, 20))):
            at = self.source.randrange(len(data))
            match self.source.randrange(5):
                case 0:
                    data[at] = self.source.randrange(256)
                case 1:
                    data[at : at + self.source.randrange(1, 9)] = b""
                case 2:
                    data[at:at] = data[at : at + self.source.randrange(1, 17)]
                case 3:
                    odd = (b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b" ", b":", b"0", b"\xff", b"chunked")
                    data[at:at] = self.source.choice(odd)
                case _ if self.source.random() < 0.3:
                    del data[at + 1 :]
                case _:
                    pass
            if not data:
                return self._mutated()
        ids = tuple(label for _, label in requests if label.startswith("request-"))
        return Case("mutated", self._cut(bytes(data)), more=More.ANYTHING, ids=ids)

    def _odd_content(self) -> Case:
        """Good HTTP whose body or headers are not what they should be."""
        document, binary = self._inference(self._new_id())
        for _ in range(self.source.choice((1, 1, 2, 4))):
            _replace_something(document, self.source)
        content = json.dumps(document).encode("utf-8", "surrogatepass")
        if self.source.random() < 0.1:
            depth = self.source.choice((100, 300, 2000))
            content = content.replace(b"[", b"[" * depth, 1).replace(b"]", b"]" * depth, 1)
        length = str(len(content)) if self.source.random() < 0.8 else self.source.choice(_ODD_LENGTHS)
        split = {"Inference-Header-Content-Length": length} if binary or self.source.random() < 0.2 else {}
        odd = self._post(self.model.path + "/infer", content + binary, split)
        last, label = self._request()
        return Case("odd content", self._cut(odd + last), (ANY, label))

    def _hiding(self) -> Case:
        """A request whose framing could be read in two ways; a strict reader finds no second request in it."""
        first = self._new_id()
        before = self._post(self.model.path + "/infer", self._body(first))
        hidden = self._post(self.model.path + "/infer", self._body(HIDDEN))
        name, make = self.source.choice(list(_HIDING.items()))
        data = before + make(self.model.path, hidden)
        return Case(f"hiding: {name}", self._cut(data), (first,), More.ANYTHING)

    def _too_large(self) -> Case:
        """More than the server takes."""
        line = f"POST {self.model.path}/infer HTTP/1.1\r\nHost: x\r\n".encode()
        chunked = line + b"Transfer-Encoding: chunked\r\n\r\n"
        size = self.source.choice((HEADER_LIMIT, BODY_LIMIT, 4 * BODY_LIMIT)) + self.source.randrange(1, 100)
        name, data = self.source.choice(
            (
                ("header", line + b"A: " + b"a" * size + b"\r\n\r\n"),
                ("headers", line + b"A: a\r\n" * (size // 3) + b"\r\n"),
                ("target", b"GET /" + b"a" * size + b" HTTP/1.1\r\n\r\n"),
                ("body", line + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + size) + b"a" * size),
                ("announced body", line + b"Content-Length: %d\r\n\r\n" % (2**63)),
                ("chunk", chunked + b"%x\r\n" % (BODY_LIMIT + 1) + b"a" * (BODY_LIMIT + 1)),
                ("chunks of a byte", chunked + b"1\r\na\r\n" * (BODY_LIMIT + size)),
                ("chunk extension", chunked + b"1;" + b"a" * (10 * BODY_LIMIT)),
                ("trailer", chunked + b"1\r\na\r\n0\r\nA: " + b"a" * (10 * BODY_LIMIT)),
            )
        )
        return Case(f"too large: {name}", self._cut(data), more=More.ONE_ERROR)

    def _reset(self) -> Case:
        data = b"".join(self._request()[0] for _ in range(self.source.choice((1, 3, 20))))
        return Case("reset", self._cut(data[: self.source.randrange(1, len(data) + 1)]), resets=True)

    # Parts.

    def _new_id(self) -> str:
        self._count += 1
        return f"request-{self._count}"

    def _cut(self, data: bytes) -> tuple[bytes, ...]:
        cuts = sorted(self.source.randrange(len(data) + 1) for _ in range(self.source.choice((0, 0, 1, 2, 6))))
        return tuple(data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if begin < end)

    def _request(self, *, heads: bool = True) -> tuple[bytes, str]:
        """Return a valid request and the label of its answer."""
        if self.source.random() < 0.3:
            target, label = self.source.choice(list(self.model.gets().items()))
            method = "HEAD" if heads and self.source.random() < 0.3 else "GET"
            label = HEAD if method == "HEAD" else label
            return f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), label
        identifier = self._new_id()
        document, binary = self._inference(identifier)
        content = json.dumps(document).encode()
        headers = {"Inference-Header-Content-Length": str(len(content))} if binary else {}
        return self._post(self.model.path + "/infer", content + binary, headers), identifier

    def _body(self, identifier: str) -> bytes:
        """Return a valid body without binary data."""
        while True:
            document, binary = self._inference(identifier)
            if not binary:
                return json.dumps(document).encode()

    def _inference(self, identifier: str) -> tuple[dict[str, Any], bytes]:
        """Return a valid request's JSON part and the binary data after it."""
        rows = self.source.choice((0, 1, 1, 1, 2, 3, ROWS_LIMIT))
        with_binary = self.source.random() < 0.3
        inputs: list[dict[str, Any]] = []
        binary = b""
        for tensor in self.source.sample(self.model.inputs, len(self.model.inputs)):
            shape = [rows, *(self.source.randrange(1, 4) if size == -1 else size for size in tensor["shape"][1:])]
            count = 1
            for size in shape:
                count *= size
            values = [_value(tensor["datatype"], self.source) for _ in range(count)]
            entry: dict[str, Any] = {key: tensor[key] for key in ("name", "datatype")} | {"shape": shape}
            if with_binary and self.source.random() < 0.6:
                packed = _packed(tensor["datatype"], values)
                entry["parameters"] = {"binary_data_size": len(packed)}
                binary += packed
            else:
                entry["data"] = values
            inputs.append(entry)
        document: dict[str, Any] = {"id": identifier, "inputs": inputs}
        if self.source.random() < 0.2:
            document["parameters"] = {"binary_data_output": True}
        return document, binary

    def _post(self, target: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        """Return a request with some of the headers that clients send."""
        extra = {"Accept-Encoding": "gzip", "Expect": "100-continue", "Content-Type": "application/json", "X": "y" * 99}
        lines = [f"{name}: {value}" for name, value in extra.items() if self.source.random() < 0.15]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        chunked = self.source.random() < 0.3
        lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
        self.source.shuffle(lines)
        head = "\r\n".join([f"POST {target} HTTP/1.1", "Host: x", *lines, "", ""]).encode()
        return head + (self._chunked(body) if chunked else body)

    def _chunked(self, body: bytes) -> bytes:
        extension = self.source.choice((b"", b"", b";a=b"))
        trailer = self.source.choice((b"", b"", b"Expect: magic\r\n"))
        chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in self._cut(body))
        return chunks + b"0\r\n" + trailer + b"\r\n"


def _value(datatype: str, source: random.Random) -> Any:
    if datatype == "BYTES":
        return source.choice(("AA", "", "ÜA", "日本", "x" * 50))
    if datatype == "BOOL":
        return source.random() < 0.5
    return source.randrange(100) if "INT" in datatype else round(source.uniform(-100, 100), 3)


def _packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
    return struct.pack(f"<{len(values)}{_STRUCTS[datatype]}", *values)


def _replace_something(document: dict[str, Any], source: random.Random) -> None:
    """Put an odd value in a random place, or take away what is there."""
    node: Any = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = source.choice(keys)
        if isinstance(node[key], dict | list) and source.random() < 0.75:
            node = node[key]
            continue
        if source.random() < 0.15:
            del node[key]
        else:
            node[key] = copy.deepcopy(source.choice(_ODD_VALUES))
        return


# Ways to hide a request. Each takes the model's path and the request to hide.


def _carrier(headers: bytes, body: Callable[[bytes], bytes], line: bytes = b"POST %s/infer HTTP/1.1") -> Any:
    def make(path: str, hidden: bytes) -> bytes:
        content = body(hidden)
        head = headers.replace(b"LENGTH", str(len(content)).encode())
        begin = line % path.encode() if b"%s" in line else line
        return begin + b"\r\nHost: x\r\n" + head + b"\r\n" + content

    return make


def _ended(hidden: bytes) -> bytes:
    """Nothing for who reads chunks, and a request for who does not (or the other way about)."""
    return b"0\r\n\r\n" + hidden


def _plain(hidden: bytes) -> bytes:
    return hidden


def _chunks(begin: bytes) -> Any:
    return _carrier(b"Transfer-Encoding: chunked\r\n", lambda hidden: begin + hidden)


_LENGTH_AND_CHUNKED = b"Content-Length: LENGTH\r\nTransfer-Encoding: chunked\r\n"
_HIDING: Final[Mapping[str, Callable[[str, bytes], bytes]]] = {
    "length and chunked": _carrier(_LENGTH_AND_CHUNKED, _ended),
    "chunked and length": _carrier(b"Transfer-Encoding: chunked\r\nContent-Length: LENGTH\r\n", _ended),
    "length and no coding": _carrier(b"Content-Length: LENGTH\r\nTransfer-Encoding: identity\r\n", _plain),
    "two lengths": _carrier(b"Content-Length: 0\r\nContent-Length: LENGTH\r\n", _plain),
    "two lengths turned": _carrier(b"Content-Length: LENGTH\r\nContent-Length: 0\r\n", _plain),
    **{
        f"length {value!r}": _carrier(b"Content-Length: " + value + b"\r\n", _plain)
        for value in (b"0, 9", b"0;", b"0x0", b"+0", b"-0", b"0_0", b'"0"', b"0\x0b", b"0\x00", b"", b"a", b"0 0")
    },
    **{
        f"coding {value!r}": _carrier(b"Transfer-Encoding: " + value + b"\r\n", _ended)
        for value in (
            b"xchunked",
            b"identity",
            b"chunked, identity",
            b"chunked chunked",
            b"chunk",
            b"",
            b"chunked;q=1",
            b'"chunked"',
            b"chunked\x0b",
            b"chunked\x00",
        )
    },
    **{
        f"header {value!r}": _carrier(value + b"\r\n", _ended)
        for value in (
            b"Transfer-Encoding : chunked",
            b" Transfer-Encoding: chunked",
            b"X: y\r\n Transfer-Encoding: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"X: y\rTransfer-Encoding: chunked",
            b"Transfer\x00-Encoding: chunked",
            b"Transfer_Encoding: chunked",
            b"Transfer-Encoding\r\n: chunked",
            b"X: \nContent-Length: 0\n",
            b"X: y\n\n",
        )
    },
    "chunked in HTTP/1.0": _carrier(
        b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", _ended, b"POST %s/infer HTTP/1.0"
    ),
    **{
        f"chunk {value!r}": _chunks(value)
        for value in (
            b"0x0\r\n\r\n",
            b"+0\r\n\r\n",
            b"-0\r\n\r\n",
            b"0_\r\n\r\n",
            b" 0\r\n\r\n",
            b"0\x00\r\n\r\n",
            b"\r\n0\r\n\r\n",
            b"0\n\n",
            b"0\r\r\n\r\n",
            b"0;\n\r\n\r\n",
            b"10000000000000000\r\n",
            b"FFFFFFFFFFFFFFFFFF\r\n",
            b"1\r\nAA\r\n0\r\n\r\n",
            b"1\r\nA\n0\r\n\r\n",
            b"1\r\n\r\n0\r\n\r\n",
            b"0\r\nX y\r\n\r\n",
            b"0\r\nX: y\n\n",
        )
    },
    "body of a GET": _carrier(b"Content-Length: LENGTH\r\n", _plain, b"GET /v2/health/live HTTP/1.1"),
    "body of a HEAD of nothing": _carrier(b"Content-Length: LENGTH\r\n", _plain, b"DELETE /nothing HTTP/1.1"),
    "body of a wrong method": _carrier(b"Content-Length: LENGTH\r\n", _plain, b"POST /v2 HTTP/1.1"),
    "body of a missing path": _carrier(b"Content-Length: LENGTH\r\n", _plain, b"POST /nothing HTTP/1.1"),
    "body of nonsense": _carrier(b"Content-Length: LENGTH\r\n", _plain),
    "compressed body": _carrier(b"Content-Encoding: gzip\r\nContent-Length: LENGTH\r\n", _plain),
    "body that is refused": _carrier(b"Expect: magic\r\nContent-Length: LENGTH\r\n", _plain),
    "body that must be invited": _carrier(b"Expect: 100-continue\r\nContent-Length: LENGTH\r\n", _plain),
    "after the end": _carrier(b"Connection: close\r\n", _plain),
    "after HTTP/1.0": _carrier(b"", _plain, b"GET /v2 HTTP/1.0"),
    "after HTTP/0.9": lambda _, hidden: b"GET /v2\r\n" + hidden,
    "after HTTP/2": lambda _, hidden: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
    "offer of HTTP/2": _carrier(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: LENGTH\r\n", _plain),
    "offer of a websocket": _carrier(
        b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: LENGTH\r\n", _plain, b"GET /v2 HTTP/1.1"
    ),
    "offer with length and chunked": _carrier(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + _LENGTH_AND_CHUNKED, _ended),
    "offer with two codings": _carrier(
        b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: identity\r\n", _ended
    ),
    "connect": _carrier(b"", _plain, b"CONNECT x:1 HTTP/1.1"),
    "connect with a body": _carrier(b"Content-Length: LENGTH\r\n", _plain, b"CONNECT x:1 HTTP/1.1"),
    **{
        f"line {value!r}": _carrier(b"", _plain, value)
        for value in (
            b"\x00GET /v2 HTTP/1.1",
            b" GET /v2 HTTP/1.1",
            b"GET\t/v2\tHTTP/1.1",
            b"GET /v2 HTTP/1.1 HTTP/1.1",
            b"GET /v2 HTTP/1.10",
            b"GET /v2 HTTP/11",
            b"GET /v2 http/1.1",
            b"GET /v2 HTTP/3.0",
            b"get /v2 HTTP/1.1",
            b"G\xc3\x8bT /v2 HTTP/1.1",
            b"GET",
            b"HTTP/1.1 200 OK",
        )
    },
}
