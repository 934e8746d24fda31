"""Curves and bars as SVG, about as wide as a phone: where there is more room, several stand side by side.

Lines differ by dashes and marks, not by colour alone, and every chart says in words what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ogiri.captioning.training.report_page.element import Html, element, joined

WIDTH, HEIGHT = 360.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 26.0, 34.0
MAX_POINTS = 200  # of a line
MAX_MARKS = 40  # more of them would run into each other
TICKS = 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Series:
    """A line: a name and (x, y) points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A place on the x axis that is pointed at."""

    x: float
    name: str


@dataclass(frozen=True)
class Bar:
    """A bar: the number where it begins, and its height."""

    start: float
    value: float


def line_chart(
    key: str, title: str, description: str, series: Sequence[Series], x_title: str, mark: Mark | None = None
) -> Html:
    """Lines over one x axis.

    Args:
        key: tells the charts of a page apart.
        title: what is measured.
        description: the same in words, with the first and last numbers.
        series: at most two, each with a point at least.
        x_title: below the axis.
        mark: the best epoch.
    """
    thinned = [Series(one.name, thin(one.points)) for one in series]
    xs = [x for one in thinned for x, _ in one.points]
    ys = [y for one in thinned for _, y in one.points]
    frame = _Frame.around(xs, ys, from_zero=False)
    parts = [*frame.grid(x_title, whole=True)]
    if mark is not None:
        parts += _marked(frame, mark)
    for number, one in enumerate(thinned):
        parts += _line(frame, one, number)
    parts += _legend([one.name for one in thinned])
    return _figure(key, title, description, parts)


def bar_chart(key: str, title: str, description: str, bars: Sequence[Bar], x_title: str) -> Html:
    """Bars that stand side by side, each from its own start to the start of the next."""
    width = bars[1].start - bars[0].start if len(bars) > 1 else 1.0
    frame = _Frame.around([bars[0].start, bars[-1].start + width], [0.0, *(bar.value for bar in bars)], from_zero=True)
    parts = [*frame.grid(x_title, whole=True)]
    base = frame.y(0.0)
    for bar in bars:
        left, right, top = frame.x(bar.start), frame.x(bar.start + width), frame.y(bar.value)
        parts.append(
            element("rect", class_="bar", x=left + 0.5, y=top, width=max(right - left - 1, 0.5), height=base - top)
        )
    return _figure(key, title, description, parts)


def thin(points: Sequence[tuple[float, float]], most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """Evenly chosen points, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, about `TICKS` of them."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * factor for factor in _STEPS if span / (power * factor) <= TICKS)
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True)
class _Frame:
    """Numbers → places in the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, xs: Sequence[float], ys: Sequence[float], from_zero: bool) -> _Frame:
        low, high = min(ys), max(ys)
        room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
        x_low, x_high = min(xs), max(xs)
        if x_low == x_high:
            x_low, x_high = x_low - 0.5, x_high + 0.5
        bottom = 0.0 if from_zero or 0 <= low < room else low - room
        return cls(x_low, x_high, bottom, high + room)

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return TOP + (self.y_high - value) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def grid(self, x_title: str, whole: bool) -> list[Html]:
        """Lines across with their numbers, the numbers below, and what these are."""
        parts = []
        for value in ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
            parts.append(element("text", f"{value:.4g}", x=LEFT - 6, y=y + 4, text_anchor="end"))
        for value in ticks(self.x_low, self.x_high, whole):
            parts.append(element("text", f"{value:.6g}", x=self.x(value), y=HEIGHT - BOTTOM + 15, text_anchor="middle"))
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(element("text", x_title, class_="axis", x=middle, y=HEIGHT - 4, text_anchor="middle"))
        return parts


def _line(frame: _Frame, series: Series, number: int) -> list[Html]:
    places = [(frame.x(x), frame.y(y)) for x, y in series.points]
    parts = [element("polyline", class_=f"s{number}", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places))]
    if len(places) <= MAX_MARKS:
        parts += [_dot(x, y, number) for x, y in places]
    return parts


def _dot(x: float, y: float, number: int) -> Html:
    if number == 0:
        return element("circle", class_="d0", cx=round(x, 1), cy=round(y, 1), r=3)
    return element("rect", class_="d1", x=round(x - 3, 1), y=round(y - 3, 1), width=6, height=6)


def _marked(frame: _Frame, mark: Mark) -> list[Html]:
    x = frame.x(mark.x)
    late = x > (LEFT + WIDTH) / 2
    anchor, place = ("end", x - 4) if late else ("start", x + 4)
    return [
        element("line", class_="mark", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM),
        element("text", mark.name, class_="mark", x=place, y=TOP - 5, text_anchor=anchor),
    ]


def _legend(names: Sequence[str]) -> list[Html]:
    if len(names) < 2:
        return []
    parts, x = [], LEFT
    for number, name in enumerate(names):
        parts.append(element("polyline", class_=f"s{number}", points=f"{x:.1f},10 {x + 26:.1f},10"))
        parts.append(_dot(x + 13, 10, number))
        parts.append(element("text", name, x=x + 32, y=14))
        x += 44 + 7.0 * len(name)
    return parts


def _figure(key: str, title: str, description: str, parts: Sequence[Html]) -> Html:
    picture = element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", description, id=f"{key}-text"),
        joined(parts),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_labelledby=f"{key}-title {key}-text",
    )
    return element("figure", element("figcaption", title), picture, element("p", description), class_="chart")
