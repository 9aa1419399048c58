"""The report in Chromium: nothing is refused by its own policy, and nothing is wider than the screen."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.report.page import render
from tests.support.browser import Browser, browser
from tests.unit.report.examples import EXAMPLES, example


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", EXAMPLES)
def test_page_fits_the_screen_and_is_silent(
    chromium: Browser, tmp_path: Path, name: str, width: int, *, dark: bool
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(example(name)), encoding="utf-8")
    chromium.show(page, width=width, dark=dark)
    assert chromium.console() == []
    assert chromium.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    background = chromium.ask("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(15, 20, 25)" if dark else "rgb(255, 255, 255)")
    if folder := os.environ.get("MODELYARD_SCREENSHOTS"):
        scheme = "dark" if dark else "light"
        (Path(folder) / f"report-{name}-{width}-{scheme}.png").write_bytes(chromium.screenshot())


def test_what_the_policy_forbids_is_noticed(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(example("reported")).replace("<h1>", '<h1 style="color:red">'), encoding="utf-8")
    chromium.show(page, width=360, dark=False)
    assert any("Content Security Policy" in line for line in chromium.console())
