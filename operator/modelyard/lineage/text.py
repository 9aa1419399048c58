"""A lineage graph as an indented tree, for terminals. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from modelyard.lineage.graph import Graph, Node, NodeKind

_DIGEST: Final = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")

_VALUE_CHARACTERS: Final = 160


def to_text(graph: Graph) -> str:
    """Return the tree from the version outwards, one fact a line."""
    return "\n".join(_lines(graph, graph.node(graph.root), "", "")) + "\n"


def shorten(text: str) -> str:
    """Return a text with its digests cut to twelve digits, which tell them apart for people."""
    return _DIGEST.sub(r"\1…", text)


def clean(text: str, length: int) -> str:
    """Return a text in one line of at most `length` characters, without anything that a terminal would act on."""
    line = " ".join(text.split())
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def _lines(graph: Graph, node: Node, label: str, indent: str) -> Iterator[str]:
    children = _children(graph, node)
    yield f"{label + ' ' if label else ''}{node.kind.value} {clean(node.title, _VALUE_CHARACTERS)}"
    width = max((len(name) for name, _ in node.facts), default=0)
    bar = "│  " if children else "   "
    for name, value in node.facts:
        yield f"{indent}{bar}{name:<{width}}  {clean(shorten(value), _VALUE_CHARACTERS)}"
    for number, (child, said) in enumerate(children):
        is_last = number == len(children) - 1
        further = indent + ("   " if is_last else "│  ")
        first, *rest = _lines(graph, child, said, further)
        yield f"{indent}{'└─ ' if is_last else '├─ '}{first}"
        yield from rest


def _children(graph: Graph, node: Node) -> list[tuple[Node, str]]:
    """Return what came before a node, and after the version itself where it went: each node is shown once."""
    if node.kind is NodeKind.DEPLOYMENT:
        return []
    before = [(graph.node(edge.source), edge.label) for edge in graph.edges if edge.target == node.id]
    after = [(graph.node(edge.target), edge.label) for edge in graph.edges if edge.source == node.id == graph.root]
    return before + after
