"""A parser that knows heads from before reads every connection as one that knows none."""

import random
from typing import Any

from typing_extensions import override

from modelyard.serving.limits import Limits
from modelyard.serving.parsing import BodyBudget, KnownHeads, RequestParser
from tests.contract.serving.fuzz_cases import Cases, Model

LIMITS = Limits(body_bytes=65536, buffered_bytes=1_000_000)
MODEL = Model("/v2/models/m", [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}])


class NoKnownHeads(KnownHeads):
    """Never learns."""

    @override
    def learn(self, *_: Any) -> None:
        pass


def read(pieces: tuple[bytes, ...], known: KnownHeads) -> tuple[Any, ...]:
    budget = BodyBudget(LIMITS.buffered_bytes)
    parser = RequestParser(LIMITS, budget, known)
    for piece in pieces:
        parser.feed(piece)
    requests = [
        (request.method, request.target, dict(request.headers), request.body, request.keep_alive)
        for request in parser.requests
    ]
    held = budget.held
    parser.close()
    assert budget.held == 0
    return requests, parser.refusal, parser.complete, parser.receiving, parser.target, parser.continue_due, held


def test_connections_are_read_as_without_known_heads() -> None:
    cases = Cases(random.Random(7), MODEL)  # noqa: S311 - reproducible
    known, none = KnownHeads(), NoKnownHeads()
    hits = 0
    find = known.find

    def counting(head: bytes) -> Any:
        nonlocal hits
        found = find(head)
        hits += found is not None
        return found

    known.find = counting
    for _ in range(2000):
        case = cases.next()
        if len(case.pieces) < 100 and sum(map(len, case.pieces)) < 20_000:
            assert read(case.pieces, known) == read(case.pieces, none), case
    assert hits > 50
