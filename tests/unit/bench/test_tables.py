from bench.serving.bars import Bar
from bench.serving.figures import Cell, Ratio, Sample, Samples
from bench.serving.rounds import Problems
from bench.serving.tables import aligned, bar_table, model_table


def sample(requests: int, *, failed: int = 0) -> Sample:
    return Sample(0, "gbt", "mlserver", Cell(1, 16), requests, 1.0, 0.25, 4.2, failed, 0.5)


def test_aligned_makes_a_markdown_table() -> None:
    assert aligned([["a", "bb"], ["ccc", "d"]]) == "| a   | bb |\n|-----|----|\n| ccc | d  |"


def test_model_table_shows_medians_and_what_was_not_measured() -> None:
    table = model_table(Samples([sample(1000), sample(2000)]), "gbt", [Cell(1, 16), Cell(64, 16)], Problems())
    row = next(line for line in table.splitlines() if line.startswith("| mlserver"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["mlserver, json", "1500 / 0.25 / 4.2 / 375.0", "-"]


def test_model_table_shows_failed_requests() -> None:
    assert "(3 FAILED)" in model_table(Samples([sample(10, failed=3)]), "gbt", [Cell(1, 16)], Problems())


def test_model_table_names_a_peer_that_could_not_be_measured() -> None:
    problems = Problems()
    problems.add("gbt", "kserve", "cannot be installed: no\nnetwork")
    table = model_table(Samples([]), "gbt", [Cell(1, 16)], problems)
    assert "kserve: FAILED: cannot be installed: no network" in table
    assert "kserve" not in model_table(Samples([]), "mlp", [Cell(1, 16)], problems)


def test_bar_table_shows_limit_value_spread_and_verdict() -> None:
    bars = [
        Bar("speed", 14, Ratio(15.25, 12.0, 18.0), "mlserver"),
        Bar("share", 0.5, Ratio(0.4, 0.4, 0.4), unit="%"),
        Bar("memory", 85, None, unit="MB", at_least=False),
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in bar_table(bars).splitlines()[2:]]
    assert rows == [
        ["speed", ">= 14 x", "15.2 x", "12 x to 18 x", "holds", "mlserver"],
        ["share", ">= 50.0 %", "40.0 %", "-", "FAILS", ""],
        ["memory", "<= 85 MB", "-", "-", "not measured", ""],
    ]
