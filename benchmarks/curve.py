"""Curves over a logarithmic axis as an SVG picture, several beside each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 340, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 40, 38
STROKES = ("", "6 4", "2 3")  # lines differ by dashes, not by colour
TICKS = 4
CHARACTER = 6  # the width of one, about
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: what is measured, with its unit.
        x_title: below the axis.
        lines: name → (x, y) points from left to right, x above 0.
        bend: the x at which it bends, None where it does not.
    """

    title: str
    x_title: str
    lines: dict[str, Sequence[tuple[float, float]]]
    bend: float | None = None


def svg(panels: Sequence[Panel]) -> str:
    """The picture of all panels, from left to right.

    Raises:
        ValueError: a panel has no points.
    """
    drawn = "".join(
        f'<g transform="translate({WIDTH * index} 0)">{_panel(panel)}</g>' for index, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="none" stroke="#222">'
        f'<rect width="100%" height="100%" fill="#fff" stroke="none"/>{drawn}</svg>\n'
    )


def bend(points: Sequence[tuple[float, float]], gain: float = 0.2) -> float | None:
    """Where a curve stops to rise: the last x before twice as much gives less than `gain` more, as a share.

    Args:
        points: (x, y) from left to right, y above 0.
        gain: 0.2 = 20 %.

    Returns:
        None where it rises to the end.
    """
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        doublings = math.log2(next_x / x)
        if (next_y / y) ** (1 / doublings) - 1 < gain:
            return x
    return None


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line]
    if not points:
        raise ValueError(f"{panel.title}: there are no points to draw")
    step = _step(max(y for _, y in points))
    top = step * math.ceil(max(y for _, y in points) / step)
    xs = sorted({x for x, _ in points})

    def place(x: float, y: float) -> tuple[float, float]:
        span = math.log(xs[-1] / xs[0]) or 1.0
        across = LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / xs[0]) / span
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    parts = [_text(LEFT, 14, panel.title, "start")]
    for tick in range(round(top / step) + 1):
        _, y = place(xs[0], tick * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 5, y + 4, f"{tick * step:g}", "end"))
    for x in xs:
        anchor = "end" if x == xs[-1] and len(xs) > 1 else "middle"  # so that none leaves the panel
        parts.append(_text(place(x, 0)[0], HEIGHT - BOTTOM + 15, f"{x:,g}", anchor))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, panel.x_title, "middle"))
    legend = LEFT
    for index, (name, line) in enumerate(panel.lines.items()):
        stroke = STROKES[index % len(STROKES)]
        path = "L".join("{:.1f} {:.1f}".format(*place(*point)) for point in line)
        parts.append(f'<path d="M{path}" stroke-width="1.5" stroke-dasharray="{stroke}"/>')
        parts += ['<circle cx="{:.1f}" cy="{:.1f}" r="2.5" fill="#222"/>'.format(*place(*point)) for point in line]
        parts.append(
            f'<path d="M{legend} 26h22" stroke-width="1.5" stroke-dasharray="{stroke}"/>'
            + _text(legend + 27, 30, name, "start")
        )
        legend += 42 + CHARACTER * len(name)
    if panel.bend is not None:
        x, _ = place(panel.bend, 0)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#c00" stroke-dasharray="3 3"/>')
        parts.append(_text(x + 4, TOP + 10, "bends", "start"))
    return "".join(parts)


def _step(largest: float) -> float:
    rough = largest / TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next(magnitude * step for step in _STEPS if magnitude * step >= rough * (1 - 1e-9))


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#222" stroke="none" text-anchor="{anchor}">{escape(text)}</text>'
