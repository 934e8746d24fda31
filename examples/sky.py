"""The sky at three times of day, and what the light does to colours."""

import random
from typing import NamedTuple

from examples.pen import Pen

WIDTH, HEIGHT = 400, 300  # units of a picture, and its pixels
BANDS = 48


class Sky(NamedTuple):
    """The colours of a time of day."""

    name: str
    top: str
    bottom: str
    cloud: str
    dusk: str  # what every colour outside is tinted with
    tint: float

    def lit(self, colour: str) -> str:
        """The colour in this light."""
        return mix(colour, self.dusk, self.tint)


DAY = Sky("day", "#6fbdf0", "#d6f0fb", "#ffffff", "#ffffff", 0.0)
EVENING = Sky("evening", "#f2865e", "#ffe1a6", "#ffd0b0", "#e8744e", 0.24)
NIGHT = Sky("night", "#141c46", "#3e4f92", "#5566a5", "#1c2458", 0.4)
SKIES = (DAY, EVENING, NIGHT)


def mix(one: str, other: str, share: float) -> str:
    """A colour between two: `share` of the other."""
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def fade(pen: Pen, top: str, bottom: str, y0: float, y1: float, x0: float = 0, x1: float = WIDTH) -> None:
    """A box whose colour runs from top to bottom."""
    step = (y1 - y0) / BANDS
    for band in range(BANDS):
        y = y0 + band * step
        pen.box(x0, y, x1, y + step + 0.5, mix(top, bottom, band / (BANDS - 1)))


def draw_sky(pen: Pen, sky: Sky, rng: random.Random, horizon: float = 190, clouds: int = 3) -> None:
    """Sky, sun or moon, stars and clouds down to the horizon."""
    fade(pen, sky.top, sky.bottom, 0, horizon)
    x = rng.choice([55, 345]) + rng.uniform(-20, 20)
    if sky.name == "night":
        stars(pen, rng, 36, horizon)
        pen.ellipse(x, 48, 20, 20, "#fdf3c4")
        pen.ellipse(x + 9, 43, 17, 17, sky.top)
    elif sky.name == "evening":
        pen.ellipse(x, 84, 34, 34, "#fff2c055")
        pen.ellipse(x, 84, 26, 26, "#fff0b8")
    else:
        pen.ellipse(x, 48, 30, 30, "#fff6c866")
        pen.ellipse(x, 48, 22, 22, "#ffe680")
    for number in range(clouds):
        cloud(pen, sky, rng.uniform(0, 130) + number * 130, rng.uniform(28, 92), rng.uniform(0.7, 1.2))


def stars(pen: Pen, rng: random.Random, count: int, bottom: float) -> None:
    """So many stars, anywhere above the bottom."""
    for _ in range(count):
        size = rng.uniform(0.6, 1.7)
        pen.ellipse(rng.uniform(0, WIDTH), rng.uniform(0, bottom), size, size, rng.choice(["#ffffff", "#fff3c0"]))


def cloud(pen: Pen, sky: Sky, x: float, y: float, scale: float) -> None:
    """One cloud in the colour of the hour."""
    with pen.at(x, y, scale):
        for dx, dy, size in ((-24, 4, 13), (-7, -6, 17), (14, -1, 15), (30, 5, 10)):
            pen.ellipse(dx, dy, size, size, sky.cloud)
        pen.box(-34, 4, 38, 16, sky.cloud, 6)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
