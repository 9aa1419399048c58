"""YAML as Kubernetes reads it, and on which line each field stands. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from modelyard.manifests.paths import Path, shown

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_NODES: Final = 200_000
"""Aliases can make a small file huge."""


class ManifestError(Exception):
    """A file is no YAML that Kubernetes would read.

    Attributes:
        line: where, from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Document:
    """One document of a file.

    Attributes:
        value: what it says, as JSON has it.
        line: where it begins, from 1.
        lines: on which line each field and list item stands.
    """

    value: Any
    line: int
    lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int:
        """Return the line of a field or, when it is not there, of what should hold it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return self.line


class _Loader(yaml.SafeLoader):
    """PyYAML without its own types: Kubernetes has no dates, so what looks like one is a text."""

    yaml_implicit_resolvers: Final = {  # type: ignore[misc]  # a class attribute of a class without annotations
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_documents(text: str) -> Iterator[Document]:
    """Yield the documents of a file, empty ones aside.

    Raises:
        ManifestError: it is no YAML, too large, or gives a field twice.
    """
    if len(text) > MAX_BYTES:
        raise ManifestError(1, f"must have at most {MAX_BYTES} characters, has {len(text)}")
    try:
        yield from _parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ManifestError(mark.line + 1 if mark else 1, f"must be YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ManifestError(1, f"must be YAML: {error}") from None


def _parse(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            lines = dict(_lines(node, (), [0]))
            value = loader.construct_document(node)
            if value is not None:
                yield Document(value, node.start_mark.line + 1, lines)
    finally:
        loader.dispose()


def _lines(node: yaml.Node, path: Path, count: list[int]) -> Iterator[tuple[Path, int]]:
    count[0] += 1
    if count[0] > MAX_NODES:
        raise ManifestError(
            node.start_mark.line + 1, f"must have at most {MAX_NODES} fields and items, aliases counted"
        )
    if isinstance(node, yaml.MappingNode):
        yield from _mapping_lines(node, path, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, (*path, index), count)


def _mapping_lines(node: yaml.MappingNode, path: Path, count: list[int]) -> Iterator[tuple[Path, int]]:
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ManifestError(line, f"{shown(path)}: must have texts as names of fields")
        if key.value in seen:
            raise ManifestError(line, f"{shown((*path, key.value))}: is given twice")
        seen.add(key.value)
        yield (*path, key.value), line
        yield from _lines(value, (*path, key.value), count)
