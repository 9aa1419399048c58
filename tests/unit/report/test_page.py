import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from typing_extensions import override

from modelyard.report.evidence import Evidence
from modelyard.report.markup import text
from modelyard.report.page import Subject, render
from modelyard.statistics.curves import confusion
from modelyard.statistics.importance import Drop, Importance
from modelyard.statistics.metrics import Classified, Estimated
from tests.unit.report.examples import EVIL, EXAMPLES, example, subject

VOID = {"meta"}
_ALLOWED = """
html head meta title style body main footer h1 h2 h3 p strong section div figure figcaption details summary
table caption thead tbody tr th td dl dt dd svg desc path text circle rect
"""
ALLOWED = frozenset(re.findall(r"\w+", _ALLOWED))


class Page(HTMLParser):
    """A page, checked while it is read: tags nest, ids are unique, and nothing comes from outside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        found = dict(attrs)
        assert not {name for name in found if name in ("style", "src", "href", "srcset") or name.startswith("on")}
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.references += (found.get("aria-labelledby") or "").split()
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("name", EXAMPLES)
def test_page_is_whole_and_holds_nothing_from_outside(name: str) -> None:
    page = Page(render(example(name)))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)


@pytest.mark.parametrize("name", EXAMPLES)
def test_names_cannot_break_out_of_their_place(name: str) -> None:
    page = render(example(name))
    assert "<script" not in page
    assert "\u202e" not in page
    assert text(EVIL) in page


@pytest.mark.parametrize("name", EXAMPLES)
def test_policy_allows_the_style_of_the_page_and_nothing_else(name: str) -> None:
    page = render(example(name))
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize("name", EXAMPLES)
def test_equal_judgements_give_equal_bytes(name: str) -> None:
    assert render(example(name)) == render(example(name))


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_plot_has_a_title_a_description_and_its_numbers_in_a_table(name: str) -> None:
    page = render(example(name))
    for figure in re.findall(r"<figure>(.*?)</figure>", page, re.DOTALL):
        assert "<table>" in figure
        for drawing in re.findall(r"<svg.*?</svg>", figure, re.DOTALL):
            root = ET.fromstring(drawing)  # noqa: S314 - our own
            assert root.get("role") == "img"
            assert root.findtext("title")
            assert root.findtext("desc")
            assert not any(
                "nan" in str(value).lower() or value == "inf" for node in root.iter() for value in node.attrib.values()
            )


FIGURES = {
    "binary": ["ROC curve", "Precision and recall", "Calibration", "Scores", "Confusion matrix", "Feature importance"],
    "first": ["ROC curve", "Precision and recall", "Calibration", "Scores", "Confusion matrix", "Feature importance"],
    "multiclass": ["Calibration", "Confusion matrix", "Feature importance"],
    "many": ["Calibration", "Confusions", "Feature importance"],
    "regression": ["Predicted and actual", "Residuals", "Distribution of residuals", "Feature importance"],
    "reported": [],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_kind_of_model_has_its_figures(name: str) -> None:
    assert re.findall(r"<h3>(.*?)</h3>", render(example(name))) == FIGURES[name]


def test_confusion_matrix_of_the_page_is_that_of_the_rows() -> None:
    found = example("binary")
    model = evidence(found).model
    assert isinstance(model, Classified)
    page = render(found)
    for row in confusion(model):
        assert "".join(f'<td class="number">{count}</td>' for count in row) in page


def test_deciding_metric_and_regressed_group_stand_out() -> None:
    page = render(example("binary"))
    emphasized = re.findall(r'<tr class="emphasized"><th scope="row">(.*?)</th>', page)
    assert emphasized == ["accuracy", "HA"]


def test_page_of_many_rows_is_small() -> None:
    large = subject(_many(100_000), _many(100_000, seed=1), ("0", "1"))
    assert len(render(large)) < 150_000


def evidence(found: Subject) -> Evidence:
    assert found.evidence is not None
    return found.evidence


def _many(rows: int, seed: int = 0) -> Classified:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, rows)
    scores = np.clip(0.3 * truth + random.random(rows) * 0.7, 0, 1)
    return Classified(truth, (scores > 0.5).astype(np.int64), np.stack([1 - scores, scores], axis=1))


ODD: dict[str, tuple[Classified | Estimated, tuple[str, ...]]] = {
    "one class": (Classified(np.zeros(5, int), np.zeros(5, int), np.full((5, 2), 0.5)), ("0", "1")),
    "no known label": (Classified(np.zeros(1, int), np.full(1, -1), np.array([[1.0, 0.0]])), ("0", "1")),
    "always right": (Estimated(np.zeros(3), np.zeros(3)), ()),
    "constant": (Estimated(np.full(2, 1e9), np.full(2, 1e9)), ()),
    "minute": (Estimated(np.array([1e-300]), np.array([-1e-300])), ()),
}


@pytest.mark.parametrize(("model", "classes"), ODD.values(), ids=ODD.keys())
def test_odd_rows_still_give_a_page(model: Classified | Estimated, classes: tuple[str, ...]) -> None:
    page = Page(render(subject(model, None, classes)))
    assert "nan" not in " ".join(page.texts).lower().split()


def test_importance_that_was_not_measured_is_said() -> None:
    odd = replace(example("multiclass"), evidence=replace(evidence(example("multiclass")), importance=None))
    assert "Feature importance was not measured" in render(odd)


def test_long_names_are_cut_in_the_plot_and_whole_in_the_table() -> None:
    name = "a_feature_with_a_very_long_name"
    page = render(subject(_many(50), None, ("0", "1"), Importance(10, (Drop(name, 0.1, 0.0),))))
    assert f">{name[:17]}…</text>" in page
    assert f'<th scope="row">{name}</th>' in page
