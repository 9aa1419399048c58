import pytest

from bench.serving.client import BrokenAnswerError, Head, parse_head


def test_parse_head_reads_status_length_and_the_end_of_the_connection() -> None:
    head = parse_head(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 12\r\nConnection: Close")
    assert head == Head(503, 12, close=True)


def test_parse_head_keeps_the_connection_otherwise() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 0") == Head(200, 0, close=False)


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 OK\r\nContent-Length: 1", b"HTTP/1.1 200 OK\r\nContent-Length: x"]
)
def test_parse_head_refuses_what_is_no_answer_with_a_length(head: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        parse_head(head)
