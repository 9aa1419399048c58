"""A lineage graph as a picture: sources on the left, the version right of its run, Deployments on the right. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from modelyard.lineage.graph import Graph, Node, NodeKind
from modelyard.lineage.text import clean, shorten

_COLUMNS: Final[Mapping[NodeKind, int]] = {
    NodeKind.DATA: 0,
    NodeKind.CODE: 0,
    NodeKind.PARAMETERS: 0,
    NodeKind.RUN: 1,
    NodeKind.EVALUATION: 1,
    NodeKind.MODEL_VERSION: 2,
    NodeKind.DEPLOYMENT: 3,
}
_COLOURS: Final[Mapping[NodeKind, str]] = {
    NodeKind.DATA: "#0b7285",
    NodeKind.CODE: "#5f3dc4",
    NodeKind.PARAMETERS: "#846358",
    NodeKind.RUN: "#1864ab",
    NodeKind.EVALUATION: "#a61e4d",
    NodeKind.MODEL_VERSION: "#2b8a3e",
    NodeKind.DEPLOYMENT: "#d9480f",
}
_WIDTH: Final = 300
_GAP: Final = 72
_MARGIN: Final = 24
_SPACE: Final = 22
_LINE: Final = 17
_HEAD: Final = 46
_PADDING: Final = 8
_MAX_FACTS: Final = 12
_DESCRIPTION_CHARACTERS: Final = 4096
_TITLE_CHARACTERS: Final = 28
_FACT_CHARACTERS: Final = 41
_STYLE: Final = (
    "text{font-family:ui-sans-serif,system-ui,'DejaVu Sans',sans-serif;fill:#212529}"
    ".k{font-size:11px;font-weight:600;letter-spacing:.06em}.t{font-size:15px;font-weight:600}"
    ".f{font-size:11.5px;fill:#343a40}.e{fill:none;stroke:#868e96;stroke-width:1.5}"
)


_ROLE: Final = 'role="img" aria-labelledby="title description"'
_ARROW: Final = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#868e96"/></marker></defs>'
)


@dataclass(frozen=True)
class _Box:
    node: Node
    x: int
    y: int
    facts: tuple[str, ...]

    @property
    def height(self) -> int:
        return _height(self.facts)

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def to_svg(graph: Graph) -> str:
    """Return the picture. Nothing in it is fetched, and every text is escaped."""
    boxes = _layout(graph)
    width = max(box.x for box in boxes.values()) + _WIDTH + _MARGIN
    height = max(box.y + box.height for box in boxes.values()) + _MARGIN
    title = f"Lineage of {graph.node(graph.root).title}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {_size(width, height)} viewBox="0 0 {width} {height}" {_ROLE}>',
            f'<title id="title">{escape(clean(title, _DESCRIPTION_CHARACTERS))}</title>',
            f'<desc id="description">{escape(clean(_description(graph), _DESCRIPTION_CHARACTERS))}</desc>',
            f"<style>{_STYLE}</style>",
            _ARROW,
            f'<rect {_size(width, height)} fill="#fff"/>',
            *(_edge(boxes[edge.source], boxes[edge.target]) for edge in graph.edges),
            *(line for box in boxes.values() for line in _box(box)),
            "</svg>\n",
        )
    )


def _description(graph: Graph) -> str:
    said = (
        f"{graph.node(edge.target).title} {edge.label} {graph.node(edge.source).title}"
        if graph.node(edge.target).kind is not NodeKind.DEPLOYMENT
        else f"{graph.node(edge.source).title} {edge.label} {graph.node(edge.target).title}"
        for edge in graph.edges
    )
    return "; ".join(said)


def _layout(graph: Graph) -> dict[str, _Box]:
    """Stack the nodes of each column in their order; columns that are not used take no room."""
    used = sorted({_COLUMNS[node.kind] for node in graph.nodes})
    positions = {column: _MARGIN + used.index(column) * (_WIDTH + _GAP) for column in used}
    tops = dict.fromkeys(used, _MARGIN)
    boxes = {}
    for node in graph.nodes:
        column = _COLUMNS[node.kind]
        box = _Box(node, positions[column], tops[column], _facts(node))
        tops[column] += box.height + _SPACE
        boxes[node.id] = box
    return boxes


def _facts(node: Node) -> tuple[str, ...]:
    lines = [clean(f"{name}: {shorten(value)}", _FACT_CHARACTERS) for name, value in node.facts]
    rest = len(lines) - _MAX_FACTS
    return (*lines[:_MAX_FACTS], f"and {rest} more") if rest > 0 else tuple(lines)


def _height(facts: tuple[str, ...]) -> int:
    return _HEAD + _LINE * len(facts) + _PADDING


def _box(box: _Box) -> Iterator[str]:
    """Return a box in a picture of its own, which cuts off what is too wide, as texts of wide letters are."""
    colour, left = _COLOURS[box.node.kind], 16
    yield f'<svg x="{box.x}" y="{box.y}" {_size(_WIDTH, box.height)}>'
    yield f'<rect x=".5" y=".5" {_size(_WIDTH - 1, box.height - 1)} rx="6" fill="#f8f9fa" stroke="#ced4da"/>'
    yield f'<rect {_size(5, box.height)} rx="2.5" fill="{colour}"/>'
    yield f'<text class="k" x="{left}" y="18" style="fill:{colour}">{box.node.kind.value.upper()}</text>'
    yield f'<text class="t" x="{left}" y="37">{escape(clean(box.node.title, _TITLE_CHARACTERS))}</text>'
    for number, fact in enumerate(box.facts):
        yield f'<text class="f" x="{left}" y="{_HEAD + _LINE * number + 11}">{escape(fact)}</text>'
    yield "</svg>"


def _size(width: int, height: int) -> str:
    return f'width="{width}" height="{height}"'


def _edge(source: _Box, target: _Box) -> str:
    if source.x == target.x:
        x = source.x + _WIDTH // 2
        return f'<path class="e" marker-end="url(#arrow)" d="M{x} {source.y}L{x} {target.y + target.height}"/>'
    start, end = source.x + _WIDTH, target.x
    bend = (start + end) // 2
    return (
        f'<path class="e" marker-end="url(#arrow)" '
        f'd="M{start} {source.middle}C{bend} {source.middle} {bend} {target.middle} {end} {target.middle}"/>'
    )
