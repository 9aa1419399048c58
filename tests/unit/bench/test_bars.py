import pytest

from bench.serving.bars import Bar, bars
from bench.serving.drains import Replacements
from bench.serving.figures import LIMIT, Cell, Ratio, Sample, Samples
from bench.serving.rounds import Problems
from bench.serving.servers import LOGGED, OURS, UNMONITORED, UNMONITORED_AGAIN
from bench.serving.starts import Start


def sample(server: str, requests: int, cell: Cell, *, cpu: float = 1.0, failed: int = 0, at: int = 0) -> Sample:
    return Sample(at, "gbt", server, cell, requests, 1.0, 0.1, 0.2, failed, cpu)


def found(name: str, *samples: Sample, starts: tuple[Start, ...] = (), replaced: tuple[Replacements, ...] = ()) -> Bar:
    (bar,) = [bar for bar in bars(Samples(samples), starts, replaced, Problems()) if bar.name == name]
    return bar


def test_bar_is_judged_by_its_direction() -> None:
    seen = Ratio(2.0, 1.0, 3.0)
    assert Bar("a", 2.0, seen).holds
    assert not Bar("a", 2.1, seen).holds
    assert Bar("a", 2.0, seen, at_least=False).holds
    assert not Bar("a", 1.9, seen, at_least=False).holds
    assert Bar("a", 1.0, None).holds is None


@pytest.mark.parametrize(("peer", "holds"), [(100, True), (101, False)])
def test_best_peer_bar_takes_whoever_is_best(peer: int, holds: bool) -> None:
    cell = Cell(1, 16)
    samples = [sample(OURS, 350, cell), sample("mlserver", 10, cell), sample("fastapi", peer, cell)]
    bar = found(f"requests/s, gbt, {cell}, against the best peer", *samples)
    assert (bar.holds, bar.note) == (holds, "fastapi")


def test_mlserver_bar_takes_its_better_variant() -> None:
    cell = Cell(1, 16)
    samples = [sample(OURS, 140, cell), sample("mlserver", 5, cell), sample("mlserver batching", 10, cell)]
    bar = found(f"requests/s, gbt, {cell}, against MLServer", *samples)
    assert (bar.seen and bar.seen.value, bar.note) == (14.0, "mlserver batching")


def test_share_of_the_limit_is_its_cpu_time_over_ours() -> None:
    samples = [sample(OURS, 10, Cell(64, 16), cpu=2.0), sample(LIMIT, 10, Cell(64, 1), cpu=1.0)]
    bar = found("ONNX Runtime's share of the CPU time, gbt, 64 rows, c=16, json", *samples)
    assert (bar.seen and bar.seen.value, bar.holds) == (0.5, False)


def test_monitoring_bar_compares_pairs_and_shows_the_noise() -> None:
    cell = Cell(1, 64)
    samples = [
        one
        for at, slow in enumerate((1, 3, 10))
        for one in (
            sample(UNMONITORED, 100, cell, cpu=slow, at=at),
            sample(UNMONITORED_AGAIN, 100, cell, cpu=slow * 1.02, at=at),
            sample(LOGGED, 100, cell, cpu=slow * 1.05, at=at),
        )
    ]
    bar = found(f"CPU time of a request, {LOGGED}, over unmonitored", *samples)
    assert bar.holds
    assert bar.seen is not None
    assert [bar.seen.low, bar.seen.value, bar.seen.high] == pytest.approx([0.05] * 3)
    assert bar.note == "two equal servers differ by +2.0%"


def test_start_and_memory_bars_are_those_of_the_small_model() -> None:
    starts = (Start("mlp", OURS, (9.0,), 900_000_000), Start("gbt", OURS, (0.4, 0.6, 0.5), 80_000_000))
    assert found("process start to first correct answer", starts=starts).seen == Ratio(0.5, 0.4, 0.6)
    assert found("resident memory with one small model", starts=starts).holds


def test_replacement_bar_fails_by_one_failed_request() -> None:
    replaced = (
        Replacements("fastapi", "drain", 2, 5, {"EOFError": 3}),
        Replacements(OURS, "drain", 10, 5, {"EOFError": 1}),
    )
    assert found("failed requests in 10 drains under load", replaced=replaced).holds is False


def test_failure_bar_counts_failed_requests_and_problems_of_ours() -> None:
    problems = Problems()
    problems.add("gbt", "kserve", "ended")
    problems.add("gbt", OURS, "nothing answered")
    samples = Samples([sample(OURS, 1, Cell(1, 1), failed=2), sample("kserve", 1, Cell(1, 1), failed=5)])
    bar = bars(samples, (), (), problems)[-1]
    assert (bar.seen and bar.seen.value, bar.holds) == (3, False)
