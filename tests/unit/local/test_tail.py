from pathlib import Path

from modelyard.local.tail import MAX_METRICS, MetricsTail


def test_lines_are_read_as_they_are_finished(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    tail = MetricsTail(file)
    tail.read()
    assert (tail.metrics, tail.percentage) == ({}, None)
    file.write_text('{"name": "loss", "value": 0.5}\n{"progress": 0.25}\n{"name": "lo')
    tail.read()
    assert (tail.metrics, tail.percentage) == ({"loss": "0.5"}, 25.0)
    with file.open("a") as lines:
        lines.write('ss", "value": 0.4}\n')
    tail.read()
    assert tail.metrics == {"loss": "0.4"}


def test_nonsense_and_too_many_names_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = ["[", "7", '{"progress": 7}', '{"name": 1, "value": 2}', '{"name": "x", "value": "y"}', "[" * 100_000]
    lines += [f'{{"name": "m{n}", "value": {n}}}' for n in range(MAX_METRICS + 3)]
    file.write_text("\n".join(lines) + "\n")
    tail = MetricsTail(file)
    for _ in range(3):
        tail.read()
    assert list(tail.metrics) == [f"m{n}" for n in range(MAX_METRICS)]
    assert tail.percentage is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"name": "a", "value": 1}\n')
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "other")
    tail = MetricsTail(tmp_path / "metrics.jsonl")
    tail.read()
    assert tail.metrics == {}
