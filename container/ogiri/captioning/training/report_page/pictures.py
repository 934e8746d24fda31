"""Pictures that were held out, and what the model wrote for them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ogiri.captioning.training.report_page.data import Shown, Thumbnail
from ogiri.captioning.training.report_page.element import Html, details, element, joined
from ogiri.captioning.training.report_page.figure import hundredth, number

SHOWN_LABELS = 8
SHOWN_REFERENCES = 12
MOST_CHARACTERS = 300  # of one text; a record may hold far more

_GROUPS = {
    "best": ("Those that went best", "The lines that share the most with people's."),
    "middle": ("Those in the middle", "What to expect."),
    "worst": (
        "Those that went worst",
        "The lines that share the least with people's, which a funny one may do as well.",
    ),
}


def pictures_section(shown: Sequence[Shown], figures: Mapping[str, Any]) -> Html:
    """Cards in three groups."""
    heading = element("h2", "Lines that it wrote")
    if not shown:
        text = "There are none: the job was asked to end before any were written."
        return element("section", heading, element("p", text), id="lines")
    language = language_of(figures)
    parts = []
    for group, (title, text) in _GROUPS.items():
        cards = [_card(one, language) for one in shown if one.group == group]
        if cards:
            parts += [element("h3", title), element("p", text), element("div", joined(cards), class_="cards")]
    free = figures["free_running"]
    explained = (
        f"The large line is the one of beam search ({free['beams']} beams), which the figures are of. Below it stand "
        "sampled ones, as they are served, with their mean log-probability a token. chrF2 compares the large line with "
        "what people wrote for the picture. All of them are in samples.jsonl."
    )
    return element("section", heading, element("p", explained), *parts, id="lines")


def language_of(figures: Mapping[str, Any]) -> str:
    """Of the lines, for fonts and screen readers."""
    return "en" if figures["hyperparameters"]["metric_tokens"] == "word" else "ja"


def data_uri(picture: Thumbnail) -> str:
    """The picture as a `data:` address."""
    return f"data:image/webp;base64,{base64.b64encode(picture.data).decode()}"


def clipped(text: str) -> str:
    """Its beginning, where it is very long."""
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def _card(shown: Shown, language: str) -> Html:
    sample = shown.sample
    candidates = [
        element("li", clipped(c["text"]), " ", element("span", f"{c['score']:.2f}", class_="score"))
        for c in sample["candidates"]
    ]
    return element(
        "article",
        _picture(shown),
        element(
            "div",
            element("p", clipped(sample["generated"]), class_="line", lang=language),
            element("p", element("span", f"chrF2 {hundredth(sample['chrf'])}", class_="score")),
            element("h4", "Sampled"),
            element("ul", joined(candidates), class_="lines", lang=language),
            *_known(sample, language),
            _references(sample["references"], language),
        ),
    )


def _picture(shown: Shown) -> Html:
    key = clipped(str(shown.sample["image_key"]))
    if shown.thumbnail is None:
        return element("p", f"{key} could not be read again: {shown.reason}", class_="missing")
    names = ", ".join(clipped(label["Name"]) for label in shown.sample["labels"][:SHOWN_LABELS])
    return element(
        "img",
        src=data_uri(shown.thumbnail),
        alt=f"{key}: {names or 'no labels'}",
        title=key,
        width=shown.thumbnail.width,
        height=shown.thumbnail.height,
        loading="lazy",
    )


def _known(sample: Mapping[str, Any], language: str) -> list[Html]:
    parts = []
    labels = sample["labels"][:SHOWN_LABELS]
    if labels:
        chips = joined(element("li", clipped(one["Name"]), _confidence(one["Confidence"])) for one in labels)
        parts += [element("h4", "Labels, with their confidence"), element("ul", chips, class_="chips")]
    if sample["detected_text"]:
        parts += [element("h4", "Written in it"), element("p", clipped(sample["detected_text"]), lang=language)]
    return parts


def _confidence(value: float | None) -> Html:
    return Html() if value is None else element("small", f" {value:.0f}")


def _references(lines: Sequence[str], language: str) -> Html:
    shown = joined(element("li", clipped(line)) for line in lines[:SHOWN_REFERENCES])
    more = len(lines) - SHOWN_REFERENCES
    rest = element("p", f"and {number(more)} more") if more > 0 else Html()
    return details(
        f"What people wrote ({number(len(lines))})", element("ul", shown, class_="lines", lang=language), rest
    )
