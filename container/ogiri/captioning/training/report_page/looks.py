"""Where the decoder looked while it wrote a line: a tile for each piece, light where it looked."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ogiri.captioning.training.report_page.data import Glance, Look, Thumbnail
from ogiri.captioning.training.report_page.element import Html, details, element, joined, table
from ogiri.captioning.training.report_page.figure import share
from ogiri.captioning.training.report_page.pictures import clipped, data_uri, language_of

DARKEST = 0.8  # how much of the picture is taken away where the decoder did not look
MAX_TILES = 24
WORTH_TELLING = 0.05  # of the look
END, SPACE, BREAK = "(end)", "␣", "⏎"

_KINDS = ("picture", "labels", "text", "controls", "rest")  # as `_shares` gives them


def looks_section(looks: Sequence[Look], why_none: str, figures: Mapping[str, Any]) -> Html:
    """A strip of tiles for each picture."""
    heading = element("h2", "Where it looked")
    if not looks:
        return element("section", heading, element("p", why_none), id="looks")
    explained = (
        "For each piece of the line, the picture is light where the decoder looked to choose it, and dark where it did "
        "not; a frame marks the cell where it looked most. Below it stands how the look was shared out: "
        "picture, labels, text, and the rest (nothing, or the words so far). This shows what the attention weighed, "
        "which is not always what decided."
    )
    language = language_of(figures)
    return element(
        "section",
        heading,
        element("p", explained),
        *(_look(one, number, language) for number, one in enumerate(looks)),
        id="looks",
    )


def heat(grid: Sequence[Sequence[float]]) -> bytes:
    """A PNG of one pixel a cell: black, and the more transparent the more of the look went there."""
    shares = np.asarray(grid, np.float64)
    light = np.sqrt(shares / max(float(shares.max()), 1e-9))  # or all but the lightest cell would be black
    veil = np.zeros((*shares.shape, 2), np.uint8)
    veil[..., 1] = np.rint(255 * DARKEST * (1 - light))
    out = io.BytesIO()
    Image.fromarray(veil, "LA").save(out, "png")
    return out.getvalue()


def _look(look: Look, number: int, language: str) -> Html:
    sample, thumbnail = look.shown.sample, look.shown.thumbnail
    line = clipped(sample["generated"])
    shown = look.glances[:MAX_TILES]
    name = f"look{number}"
    parts, tiles = [element("p", line, class_="line", lang=language)], []
    if thumbnail is not None:
        picture = element("image", id=name, href=data_uri(thumbnail), width=1, height=1, preserveAspectRatio="none")
        parts.append(element("svg", element("defs", picture), class_="defs", aria_hidden="true"))
        tiles.append(element("li", _veiled(name, thumbnail, (), f"the picture of: {line}"), "the picture"))
    for glance in shown:
        tile = Html()
        if thumbnail is not None and glance.grid:
            tile = _veiled(name, thumbnail, glance.grid, _most(glance))
        tiles.append(element("li", tile, element("b", piece(glance), lang=language), _largest(glance)))
    parts.append(element("ol", joined(tiles), class_="strip"))
    if len(look.glances) > MAX_TILES:
        parts.append(element("p", f"and {len(look.glances) - MAX_TILES} more pieces"))
    parts.append(details("The shares as numbers", _table(shown)))
    return element("div", *parts, class_="look")


def _veiled(name: str, shape: Thumbnail, grid: Sequence[Sequence[float]], words: str) -> Html:
    """The picture called `name`, over it a veil that is stretched to its size, and a frame around the lightest cell."""
    parts = [element("use", href=f"#{name}")]
    if grid:
        address = f"data:image/png;base64,{base64.b64encode(heat(grid)).decode()}"
        parts.append(element("image", href=address, width=1, height=1, preserveAspectRatio="none"))
        row, column, rows, columns = _peak(grid)
        place = {"x": column / columns, "y": row / rows, "width": 1 / columns, "height": 1 / rows}
        parts.append(element("rect", class_="peak", **place))
    stretched = element("g", *parts, transform=f"scale({shape.width} {shape.height})")
    return element("svg", stretched, viewBox=f"0 0 {shape.width} {shape.height}", role="img", aria_label=words)


def piece(glance: Glance) -> str:
    """The text of the piece, where it is visible."""
    if not glance.piece:
        return END
    return glance.piece.replace("\n", BREAK).strip() or SPACE


def _shares(glance: Glance) -> tuple[float, ...]:
    return glance.picture, glance.labels, glance.text, glance.controls, glance.rest


def _largest(glance: Glance) -> str:
    """The shares that matter, the largest first: `picture 78 %, labels 14 %`."""
    shares = sorted(zip(_shares(glance), _KINDS, strict=True), reverse=True)
    return ", ".join(f"{kind} {share(value)}" for value, kind in shares if value >= WORTH_TELLING)


def _most(glance: Glance) -> str:
    """Where in the picture it looked most, in words."""
    row, column, rows, columns = _peak(glance.grid)
    vertical = ("top", "middle", "bottom")[3 * (2 * row + 1) // (2 * rows)]
    horizontal = ("left", "centre", "right")[3 * (2 * column + 1) // (2 * columns)]
    return f"looked most at the {vertical} {horizontal}"


def _peak(grid: Sequence[Sequence[float]]) -> tuple[int, int, int, int]:
    """Row and column of the cell that got most, and how many rows and columns there are."""
    cells = np.asarray(grid)
    row, column = divmod(int(cells.argmax()), cells.shape[1])
    return row, column, *cells.shape


def _table(glances: Sequence[Glance]) -> Html:
    rows = []
    for glance in glances:
        labels = share(glance.labels) + (f" (most: {clipped(glance.label)})" if glance.label else "")
        shares = [share(value) for value in _shares(glance)]
        rows.append([piece(glance), shares[0], labels, *shares[2:]])
    return table("Where the look went", ["Piece", *(kind.capitalize() for kind in _KINDS)], rows)
