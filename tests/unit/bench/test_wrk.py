import pytest

from bench.serving.wrk import LoadError, parse

FIGURES = (
    'figures {"requests": 4000, "microseconds": 2000000, "p50": 250, "p99": 4200, '
    '"connect": 1, "read": 2, "write": 3, "timeout": 4, "status": 5}'
)


def test_parse_reads_the_script_s_line_among_wrk_s_own() -> None:
    load = parse(f"Running 60m test @ http://127.0.0.1\n  1 threads and 16 connections\n{FIGURES}\n")
    assert (load.requests, load.seconds, load.p50_ms, load.p99_ms) == (4000, 2.0, 0.25, 4.2)


def test_parse_counts_refused_and_broken_requests_as_failed() -> None:
    load = parse(FIGURES)
    assert (load.refused, load.broken, load.failed) == (5, 10, 15)


def test_parse_without_figures_says_what_wrk_said() -> None:
    with pytest.raises(LoadError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_parse_refuses_a_load_under_which_nothing_was_answered() -> None:
    with pytest.raises(LoadError, match="no request was answered"):
        parse(FIGURES.replace("4000", "0"))
