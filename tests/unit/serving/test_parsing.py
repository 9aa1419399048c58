from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.limits import Limits
from modelyard.serving.parsing import BodyBudget, KnownHeads, Receiving, RequestParser

LIMITS = Limits(body_bytes=1000, buffered_bytes=2500)
REQUESTS = (
    b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n"
    b"POST /d HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nup"
    b"GET /e HTTP/1.0\r\nHost: x\r\n\r\n"
)


def _parser() -> tuple[RequestParser, BodyBudget]:
    budget = BodyBudget(LIMITS.buffered_bytes)
    return RequestParser(LIMITS, budget, KnownHeads()), budget


@given(st.lists(st.integers(0, len(REQUESTS)), max_size=20))
def test_requests_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    parser, budget = _parser()
    ends = [*sorted(cuts), len(REQUESTS)]
    for begin, end in zip([0, *ends], ends, strict=False):
        parser.feed(REQUESTS[begin:end])
    assert [(request.method, request.target, request.body) for request in parser.requests] == [
        (b"GET", b"/a?b", b""),
        (b"POST", b"/b", b"hello"),
        (b"POST", b"/c", b"hiyou"),
        (b"POST", b"/d", b"up"),
        (b"GET", b"/e", b""),
    ]
    assert parser.requests[0].headers == {b"host": b"x", b"x-a": b"2"}
    assert [request.keep_alive for request in parser.requests] == [True, True, True, True, False]
    assert (parser.complete, parser.refusal, parser.receiving) == (True, None, Receiving.NOTHING)
    assert budget.held == parser.held == 12
    for request in parser.requests:
        parser.release(request)
    assert budget.held == parser.held == 0


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_no_bytes_raise(chunks: list[bytes]) -> None:
    parser, budget = _parser()
    for chunk in chunks:
        parser.feed(chunk)
    parser.close()
    assert budget.held == 0


@given(st.data())
def test_no_damage_to_requests_raises(data: st.DataObject) -> None:
    damaged = bytearray(REQUESTS)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    parser, budget = _parser()
    parser.feed(bytes(damaged[:cut]))
    parser.feed(bytes(damaged[cut:]))
    assert parser.held == budget.held
    parser.close()
    assert budget.held == 0


def test_refused_body_is_not_held() -> None:
    parser, budget = _parser()
    parser.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 1000)
    assert (budget.held, parser.refusal) == (1000, None)
    parser.feed(b"\r\n1\r\nx")
    assert parser.refusal is not None
    assert parser.refusal.status == 413
    assert budget.held == 0
    parser.feed(b"\r\n0\r\n\r\n")
    assert not parser.requests


def test_budget_is_shared_by_connections() -> None:
    budget = BodyBudget(1500)
    known = KnownHeads()
    first, second = RequestParser(LIMITS, budget, known), RequestParser(LIMITS, budget, known)
    body = b"POST / HTTP/1.1\r\nContent-Length: 800\r\n\r\n" + b"x" * 800
    first.feed(body)
    second.feed(body)
    assert (len(first.requests), len(second.requests)) == (1, 0)
    assert second.refusal is not None
    assert second.refusal.status == 503
    assert budget.held == 800
