"""The page that shows what came of a demo: one file, nothing fetched from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from PIL import Image

from local.style import STYLE

LONGER_SIDE = 480  # pixels of an embedded picture
MOST_BYTES = 60_000  # a smaller JPEG is embedded as it is
SHOWN_LABELS = 6
CHART = (560, 160)  # pixels of the curve
METRICS = {"chrf": "chrF", "cider": "CIDEr", "bleu_4": "BLEU-4"}


@dataclass(frozen=True)
class Candidate:
    """A line of the model; score is the mean log-probability a token."""

    text: str
    score: float


@dataclass(frozen=True)
class Answered:
    """A held-out picture and what the endpoint answered.

    Attributes:
        picture: its bytes.
        candidates: best first.
        references: what people wrote for it.
        labels: name and confidence, best first.
        detected_text: what is written in it.
    """

    picture: bytes
    candidates: Sequence[Candidate]
    references: Sequence[str]
    labels: Sequence[tuple[str, float | None]]
    detected_text: str = ""


@dataclass(frozen=True)
class Page:
    """All that the page shows.

    Attributes:
        title: heading.
        summary: a sentence or two below it.
        answered: one for each picture.
        metrics: the trainer's metrics.json.
        seconds: step → how long it took.
        sources: what labels and text were made from, a sentence each.
        notices: what a reader should know about this run.
        commands: title → command to try next.
    """

    title: str
    summary: str
    answered: Sequence[Answered]
    metrics: Mapping[str, Any]
    seconds: Mapping[str, float]
    sources: Sequence[str] = ()
    notices: Sequence[str] = ()
    commands: Mapping[str, str] = field(default_factory=dict)


def render(page: Page) -> str:
    """The page as HTML."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        f"<title>{escape(page.title)}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{escape(page.title)}</h1><p>{escape(page.summary)}</p>",
        f'<p class="sources">{escape("; ".join(page.sources))}</p></header><main>',
        *_notices(page.notices),
        '<section class="cards">',
        *(_card(answered) for answered in page.answered),
        "</section>",
        _measured(page.metrics),
        _curve(page.metrics.get("history") or ()),
        _times(page.seconds),
        _commands(page.commands),
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _notices(notices: Sequence[str]) -> list[str]:
    return [f'<p class="notice">{escape(notice)}</p>' for notice in notices]


def _card(answered: Answered) -> str:
    best, *others = answered.candidates or [Candidate("", 0.0)]
    labels = "".join(f"<li>{_label(name, confidence)}</li>" for name, confidence in answered.labels[:SHOWN_LABELS])
    written = (
        f'<p class="written">Written in it: <span lang="ja">「{escape(answered.detected_text)}」</span></p>'
        if answered.detected_text
        else ""
    )
    references = "".join(f'<li lang="ja">{escape(line)}</li>' for line in answered.references)
    return (
        f'<article><img src="{_data_uri(answered.picture)}" alt="{escape(_names(answered))}" loading="lazy">'
        f'<p class="best" lang="ja">{escape(best.text)} {_score(best)}</p>'
        f'<ul class="others" lang="ja">{"".join(f"<li>{escape(c.text)} {_score(c)}</li>" for c in others)}</ul>'
        f'<ul class="labels">{labels}</ul>{written}'
        f"<details><summary>What people wrote</summary><ul>{references}</ul></details></article>"
    )


def _names(answered: Answered) -> str:
    return "picture with " + (", ".join(name for name, _ in answered.labels[:SHOWN_LABELS]) or "no labels")


def _label(name: str, confidence: float | None) -> str:
    return escape(name) + ("" if confidence is None else f" <small>{confidence:.0f}</small>")


def _score(candidate: Candidate) -> str:
    return f'<small title="mean log-probability a token">{candidate.score:.2f}</small>'


def _measured(metrics: Mapping[str, Any]) -> str:
    """Every metric with the right picture and with another one's: a model that looks scores lower with the wrong."""
    free = metrics.get("free_running")
    if not free:
        return ""
    shuffled = free.get("shuffled") or {}
    rows = [("the right picture", free)]
    names = {
        "picture": "another one’s picture",
        "labels_and_text": "another one’s labels and text",
        "everything": "everything another one’s",
    }
    rows += [(title, shuffled[name]) for name, title in names.items() if name in shuffled]
    columns = [name for name in METRICS if name in free]
    head = "".join(f"<th>{METRICS[name]}</th>" for name in columns)
    body = "".join(
        f"<tr><th>{escape(title)}</th>{''.join(f'<td>{_number(values.get(name))}</td>' for name in columns)}</tr>"
        for title, values in rows
    )
    gap = free.get("picture_shuffle_gap") or {}
    gaps = " and ".join(f"{_number(value)} {METRICS.get(name, name.replace('_', ' '))}" for name, value in gap.items())
    return (
        f"<section><h2>Measured on {free.get('pictures', '?')} held-out pictures</h2>"
        f'<div class="scroll"><table><thead><tr><th>Answering with</th>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"</div><p>{f'Picture-shuffle gap: {gaps}. ' if gaps else ''}The larger the gap, the more the lines depend on "
        "the picture.</p></section>"
    )


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "–"


def _curve(history: Sequence[Mapping[str, float]]) -> str:
    """Training and validation loss by epoch."""
    names = {"train_loss": "training", "validation_loss": "validation"}
    series = {name: [epoch[name] for epoch in history if name in epoch] for name in names}
    every = [value for values in series.values() for value in values]
    if len(history) < 2 or not every:
        return ""
    low, high = min(every), max(every)
    width, height = CHART

    def line(values: Sequence[float]) -> str:
        step = width / max(1, len(values) - 1)
        scale = height / ((high - low) or 1.0)
        return " ".join(f"{number * step:.1f},{(high - value) * scale:.1f}" for number, value in enumerate(values))

    lines = "".join(
        f'<polyline class="{name}" points="{line(values)}"/>' for name, values in series.items() if len(values) > 1
    )
    key = ", ".join(f'<span class="{name}">{title}</span>' for name, title in names.items() if series[name])
    return (
        f"<section><h2>Loss over {len(history)} epochs</h2>"
        f'<svg viewBox="-4 -4 {width + 8} {height + 8}" role="img" aria-label="loss by epoch">{lines}</svg>'
        f"<p>From {high:.2f} down to {low:.2f}: {key}.</p></section>"
    )


def _times(seconds: Mapping[str, float]) -> str:
    longest = max(seconds.values(), default=0.0) or 1.0
    rows = "".join(
        f"<tr><th>{escape(title)}</th><td>{value:.1f} s</td>"
        f'<td class="bar"><i style="width:{100 * value / longest:.1f}%"></i></td></tr>'
        for title, value in seconds.items()
    )
    return f'<section><h2>{sum(seconds.values()):.0f} seconds in all</h2><table class="times">{rows}</table></section>'


def _commands(commands: Mapping[str, str]) -> str:
    if not commands:
        return ""
    items = "".join(f"<p>{escape(title)}</p><pre>{escape(command)}</pre>" for title, command in commands.items())
    return f"<section><h2>Try it</h2>{items}</section>"


def _data_uri(picture: bytes) -> str:
    with Image.open(io.BytesIO(picture)) as image:
        kind = image.format
        if kind != "JPEG" or len(picture) > MOST_BYTES or max(image.size) > LONGER_SIDE:
            small = image.convert("RGB")
            small.thumbnail((LONGER_SIDE, LONGER_SIDE))
            stream = io.BytesIO()
            small.save(stream, "JPEG", quality=82)
            picture = stream.getvalue()
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
