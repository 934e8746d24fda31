from __future__ import annotations

import io
import random
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from local.page import Answered, Candidate, Page, render

VOID = {"meta", "img", "br"}


def picture(kind: str = "JPEG", size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1])).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def page() -> Page:
    shown = Answered(
        picture(),
        [
            Candidate("猫の手、貸します", -1.234),
            Candidate("段ボールがない。帰る", -2.5),
            Candidate("<b>太字</b>", -3.0),
        ],
        ["人間を一人、飼っている"],
        [("Cat", 98.76), ("Blue Top", None)],
        "立入禁止",
    )
    scores = {"chrf": 12.34, "cider": 0.456, "bleu_4": 1.5}
    other = {"chrf": 7.0, "cider": 0.2, "bleu_4": 0.5}
    metrics = {
        "free_running": {
            **scores,
            "pictures": 24,
            "shuffled": {"picture": other, "labels_and_text": other, "everything": other},
            "picture_shuffle_gap": {"chrf": 5.34, "cider": 0.256},
        },
        "history": [{"epoch": 1, "train_loss": 6.0, "validation_loss": 5.5}, {"epoch": 2, "train_loss": 4.0}],
    }
    return Page("ogiri <demo>", "24 pictures", [shown], metrics, {"Train": 61.5, "Serve": 1.0}, ["labels are measured"])


class Structure(HTMLParser):
    """Collects what the page refers to, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """`<polyline …/>` opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def structure(html: str) -> Structure:
    found = Structure()
    found.feed(html)
    assert found.open == []
    return found


def test_shows_lines_with_scores_labels_text_and_references(page: Page):
    html = render(page)
    structure(html)
    for expected in (
        "猫の手、貸します",
        "-1.23",
        "段ボールがない。帰る",
        "Cat <small>99</small>",
        "Blue Top",
        "「立入禁止」",
    ):
        assert expected in html
    assert re.search(r"<details>.*人間を一人、飼っている.*</details>", html)


def test_shows_metrics_the_shuffle_gap_and_times(page: Page):
    html = render(page)
    for expected in (
        "12.3",
        "0.456",
        "Picture-shuffle gap: 5.34 chrF and 0.256 CIDEr",
        "Train",
        "61.5 s",
        "24 held-out",
    ):
        assert expected in html
    assert html.index("another one’s picture") < html.index("<td>7</td>")


def test_everything_is_in_the_one_file(page: Page):
    html = render(page)
    references = structure(html).references
    assert len(references) == 1
    assert references[0].startswith("data:image/jpeg;base64,")
    assert "url(" not in html
    assert "@import" not in html
    assert "<script" not in html
    assert "default-src 'none'" in html


def test_what_the_model_wrote_is_text_and_no_markup(page: Page):
    html = render(page)
    assert "<b>太字</b>" not in html
    assert "&lt;b&gt;太字&lt;/b&gt;" in html
    assert "ogiri &lt;demo&gt;" in html


def test_fits_a_phone_and_a_dark_room(page: Page):
    html = render(page)
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in html
    assert "prefers-color-scheme: dark" in html
    assert '"Noto Sans JP"' in html


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "JPEG"])
def test_large_pictures_of_any_kind_are_embedded_as_small_jpegs(kind: str):
    shown = Answered(picture(kind, (1200, 900)), [Candidate("大きい", -1.0)], [], [])
    html = render(Page("t", "s", [shown], {}, {}))
    assert "data:image/jpeg;base64," in html
    assert len(html) < 300_000


def test_a_run_without_metrics_or_lines_is_shown_too():
    html = render(Page("t", "s", [Answered(picture(), [], [], [])], {}, {}))
    structure(html)
    assert "held-out" not in html
