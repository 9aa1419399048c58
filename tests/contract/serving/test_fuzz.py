"""A short run of the fuzz test (`fuzz.py` has the long one), and proof that it would notice."""

from pathlib import Path

import pytest

from tests.contract.serving.fuzz import MalformedError, check, fuzz, start
from tests.contract.serving.fuzz_cases import Case, More
from tests.contract.serving.identity_model import write_identity_model

LIVE = (
    b"HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
    b'Content-Length: 13\r\n\r\n{"live":true}'
)
FAULTS = {
    "no end": (LIVE[:-1], "must have 13 bytes"),
    "no date": (LIVE.replace(b"Date", b"X"), "headers"),
    "bad status line": (LIVE.replace(b"HTTP/1.1 ", b"HTTP/1.1"), "status line"),
    "bad header": (LIVE.replace(b"Date: ", b"Date:"), "header b'Date"),
    "header twice": (LIVE.replace(b"\r\n\r\n", b"\r\nDate: x\r\n\r\n"), "header date twice"),
    "server error": (LIVE.replace(b"200 OK", b"500 Internal"), "answer 500"),
    "one too many": (LIVE * 2, "answers must be"),
    "none": (b"", "answers must begin with"),
    "more after the last": (LIVE.replace(b"Date", b"Connection: close\r\nDate") + LIVE, "nothing may follow"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_check_finds_what_is_wrong_with_answers(fault: str) -> None:
    received, message = FAULTS[fault]
    with pytest.raises(MalformedError, match=message):
        check(Case("", (), ("live",)), received)


def test_check_finds_a_hidden_request_and_a_wrong_order() -> None:
    def answer(identifier: str) -> bytes:
        body = b'{"model_name":"m","id":"%s"}' % identifier.encode()
        head = LIVE.split(b"\r\n\r\n", maxsplit=1)[0].replace(b"13", str(len(body)).encode())
        return head + b"\r\n\r\n" + body

    case = Case("", (), more=More.ANYTHING, ids=("request-1", "request-2"))
    check(case, answer("request-1") + answer("request-2"))
    with pytest.raises(MalformedError, match="out of order"):
        check(case, answer("request-2") + answer("request-1"))
    with pytest.raises(MalformedError, match="hidden"):
        check(case, answer("hidden"))


@pytest.fixture(scope="module")
def numbers_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers") / "model"
    write_identity_model(folder, {"x": ("FP32", (-1, 24))}, nullable=True)
    return folder


@pytest.mark.parametrize("model", ["model_dir", "numbers_model_dir"])
def test_nothing_that_a_client_sends_harms_the_server(
    tmp_path: Path, request: pytest.FixtureRequest, model: str
) -> None:
    server = start(request.getfixturevalue(model), tmp_path)
    try:
        report = fuzz(server, seed=7, seconds=7, count=800)
    finally:
        server.stop()
    assert len({name.split(":")[0] for name in report.cases}) == 6
    assert {200, 400, 404, 405, 413, 431} <= report.statuses.keys()
