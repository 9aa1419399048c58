import pytest

from bench.serving.figures import Cell, Sample, Samples, cpu_us, per_second, pooled_change, ratio

CELL = Cell(1, 16)


def sample(server: str, requests: int, *, at: int = 0, cpu: float = 1.0, failed: int = 0, cell: Cell = CELL) -> Sample:
    return Sample(at, "gbt", server, cell, requests, 2.0, 0.1, 0.2, failed, cpu)


def test_sample_figures_are_those_of_one_request() -> None:
    one = sample("a", 1000, cpu=0.5)
    assert (one.per_second, one.cpu_us) == (500, 500)


def test_ratio_is_that_of_the_medians_with_the_spread_within_rounds() -> None:
    upper = [sample("a", requests, at=number) for number, requests in enumerate((100, 300, 200))]
    lower = [sample("b", requests, at=number) for number, requests in enumerate((50, 100, 100))]
    found = ratio(per_second, upper, lower)
    assert found is not None
    assert (found.value, found.low, found.high) == (2.0, 2.0, 3.0)


def test_ratio_of_what_was_not_measured_is_none() -> None:
    samples = Samples([sample("a", 1)])
    assert samples.ratio(per_second, "gbt", CELL, "a", "b") is None
    assert samples.ratio(per_second, "gbt", Cell(64, 16), "a", "a") is None


def test_best_is_the_server_with_the_greatest_median() -> None:
    samples = Samples([sample("a", 10), sample("a", 90), sample("a", 20), sample("b", 30), sample("c", 5)])
    assert samples.best("gbt", CELL, ("a", "b", "d")) == "b"
    assert samples.best("gbt", CELL, ("d",)) is None


def test_failed_counts_the_named_servers_only() -> None:
    samples = Samples([sample("a", 1, failed=2), sample("a", 1, failed=1, cell=Cell(64, 1)), sample("b", 1, failed=7)])
    assert samples.failed(("a",)) == 3


def test_pooled_change_is_the_median_over_pairs() -> None:
    pairs = [(sample("off", 100), sample("on", 100, cpu=cpu)) for cpu in (1.0, 1.1, 1.2, 1.3, 5.0)]
    found = pooled_change(cpu_us, pairs)
    assert found is not None
    assert [found.value, found.low, found.high] == pytest.approx([0.2, 0.1, 0.3])
    assert pooled_change(cpu_us, []) is None
