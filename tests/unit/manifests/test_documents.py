import pytest

from modelyard.manifests import documents
from modelyard.manifests.documents import ManifestError, parse_documents

TEXT = """\
# a comment
kind: A
spec:
  steps:
  - name: x
    time: 2026-01-31T08:00:00Z
  - {name: y}
---
---
kind: B
"""


def test_each_document_knows_its_lines() -> None:
    first, second = parse_documents(TEXT)
    assert (first.line, second.line) == (2, 10)
    assert first.line_of(("spec", "steps", 0, "time")) == 6
    assert first.line_of(("spec", "steps", 1, "name")) == 7


def test_a_field_that_is_not_there_is_shown_at_what_should_hold_it() -> None:
    first, _ = parse_documents(TEXT)
    assert first.line_of(("spec", "steps", 1, "image")) == 7
    assert first.line_of(("metadata", "name")) == 2


def test_what_looks_like_a_date_is_a_text() -> None:
    first, _ = parse_documents(TEXT)
    assert first.value["spec"]["steps"][0]["time"] == "2026-01-31T08:00:00Z"


def test_json_is_read_too() -> None:
    (document,) = parse_documents('{"kind": "A",\n "spec": {"a": 1}}')
    assert (document.value, document.line_of(("spec", "a"))) == ({"kind": "A", "spec": {"a": 1}}, 2)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [1\n", 3, "must be YAML"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "b.c: is given twice"),
        ("a: 1\n? [x]\n: 1\n", 2, "must have texts as names"),
        ("a: !!python/object:os.system {}\n", 1, "must be YAML: could not determine a constructor"),
        ("a: *nowhere\n", 1, "must be YAML: found undefined alias"),
        ("a: \x00\n", 1, "must be YAML"),
    ],
)
def test_what_kubernetes_would_not_read_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as refused:
        list(parse_documents(text))
    assert refused.value.line == line


def test_aliases_cannot_make_a_small_file_huge() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ManifestError, match="aliases counted"):
        list(parse_documents("\n".join(levels)))


def test_a_file_has_a_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_BYTES", 3)
    with pytest.raises(ManifestError, match="at most 3 characters, has 4"):
        list(parse_documents("a: 1"))
