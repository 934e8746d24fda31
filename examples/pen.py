"""A pen that draws smooth flat shapes on a Pillow image, in any turned, scaled or mirrored frame."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = str | tuple[int, int, int] | tuple[int, int, int, int]
Point = tuple[float, float]

STEPS = 8  # straight pieces between two points of a smooth curve
ROUND = np.linspace(0, 2 * math.pi, 48, endpoint=False)
CORNER = np.linspace(0, math.pi / 2, 7)


class Pen:
    """Draws in units of the picture (x to the right, y down), `unit` pixels each.

    On an RGB image translucent colours blend; on an RGBA layer they replace what lies below.
    """

    def __init__(self, image: Image.Image, unit: float) -> None:
        self._draw = ImageDraw.Draw(image, "RGBA")
        self._matrix = np.array([[unit, 0.0], [0.0, unit]])
        self._origin = np.zeros(2)

    @contextmanager
    def at(self, x: float, y: float, scale: float = 1, turn: float = 0, flip: bool = False) -> Iterator[None]:
        """A frame with its origin at (x, y), turned clockwise by `turn` degrees and mirrored with `flip`."""
        matrix, origin = self._matrix, self._origin
        cos, sin = math.cos(math.radians(turn)) * scale, math.sin(math.radians(turn)) * scale
        self._origin = origin + matrix @ np.array([x, y])
        self._matrix = matrix @ np.array([[-cos, -sin], [-sin, cos]] if flip else [[cos, -sin], [sin, cos]])
        try:
            yield
        finally:
            self._matrix, self._origin = matrix, origin

    def place(self, x: float, y: float) -> Point:
        """Where (x, y) of this frame lies on the image, in pixels."""
        px, py = self._pixels([(x, y)])[0]
        return float(px), float(py)

    def polygon(self, points: Sequence[Point] | NDArray[np.float64], fill: Colour) -> None:
        """Straight edges from point to point."""
        self._draw.polygon([tuple(point) for point in self._pixels(points).tolist()], fill=fill)

    def blob(self, points: Sequence[Point], fill: Colour) -> None:
        """A closed smooth shape through the points."""
        self.polygon(smooth(points, closed=True), fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour, turn: float = 0) -> None:
        """An ellipse around (x, y), turned clockwise."""
        with self.at(x, y, turn=turn):
            self.polygon(np.column_stack([rx * np.cos(ROUND), ry * np.sin(ROUND)]), fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, radius: float = 0) -> None:
        """A rectangle, with round corners of `radius`."""
        if not radius:
            self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)
            return
        corners = [(x1 - radius, y1 - radius), (x0 + radius, y1 - radius), (x0 + radius, y0 + radius)]
        corners.append((x1 - radius, y0 + radius))
        points = [
            (x + radius * math.cos(angle + quarter * math.pi / 2), y + radius * math.sin(angle + quarter * math.pi / 2))
            for quarter, (x, y) in enumerate(corners)
            for angle in CORNER
        ]
        self.polygon(points, fill)

    def line(self, points: Sequence[Point] | NDArray[np.float64], fill: Colour, width: float) -> None:
        """Straight pieces with round joints and ends."""
        pixels = [tuple(point) for point in self._pixels(points).tolist()]
        thick = max(1.0, width * math.sqrt(abs(float(np.linalg.det(self._matrix)))))
        self._draw.line(pixels, fill=fill, width=round(thick), joint="curve")
        half = thick / 2 - 0.5
        # Pillow's own joints leave cracks in wide bends.
        for x, y in pixels if thick > 12 else (pixels[0], pixels[-1]):
            self._draw.ellipse((x - half, y - half, x + half, y + half), fill=fill)

    def curve(self, points: Sequence[Point], fill: Colour, width: float) -> None:
        """A smooth open line through the points."""
        self.line(smooth(points, closed=False), fill, width)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Colour, width: float
    ) -> None:
        """Part of an ellipse's border; degrees clockwise from three o'clock."""
        angles = np.radians(np.linspace(start, end, 16))
        self.line(np.column_stack([x + rx * np.cos(angles), y + ry * np.sin(angles)]), fill, width)

    def pie(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Colour) -> None:
        """The part of an ellipse between two angles, closed by a straight line."""
        angles = np.radians(np.linspace(start, end, 24))
        self.polygon(np.column_stack([x + rx * np.cos(angles), y + ry * np.sin(angles)]), fill)

    def _pixels(self, points: Sequence[Point] | NDArray[np.float64]) -> NDArray[np.float64]:
        pixels: NDArray[np.float64] = np.asarray(points, dtype=np.float64) @ self._matrix.T + self._origin
        return pixels


def smooth(points: Sequence[Point], closed: bool) -> NDArray[np.float64]:
    """The Catmull-Rom curve through the points: (pieces, 2)."""
    knots = np.asarray(points, dtype=np.float64)
    padded = np.vstack([knots[-1:], knots, knots[:2]]) if closed else np.vstack([knots[:1], knots, knots[-1:]])
    before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = np.linspace(0, 1, STEPS, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (part[:, None, :] for part in (before, start, end, after))
    pieces = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    flat = pieces.reshape(-1, 2)
    return flat if closed else np.vstack([flat, knots[-1:]])
