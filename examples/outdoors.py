"""The places under the sky."""

import math
import random

import numpy as np

from examples.pen import Pen, smooth
from examples.sky import HEIGHT, WIDTH, Sky, draw_sky, fade, mix, stars


def sea(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """A beach with a parasol, a sailing boat on the water."""
    draw_sky(pen, sky, rng, horizon=150)
    fade(pen, sky.lit("#2f9fd0"), sky.lit("#7bd6e4"), 150, 226)
    for row in range(4):
        for column in range(5):
            x, y = column * 92 + row * 37 + rng.uniform(-14, 14) - 30, 162 + row * 14
            pen.curve([(x, y), (x + 9, y - 4), (x + 18, y), (x + 27, y - 4), (x + 36, y)], sky.lit("#c9f1f6"), 1.8)
    boat = rng.uniform(60, 340)
    pen.polygon([(boat - 16, 146), (boat + 16, 146), (boat + 10, 154), (boat - 10, 154)], sky.lit("#c8503c"))
    pen.polygon([(boat, 144), (boat, 120), (boat + 15, 142)], sky.lit("#ffffff"))
    fade(pen, sky.lit("#f7e3b0"), sky.lit("#e8c988"), 224, HEIGHT)
    pen.curve([(-10, 228), (60, 220), (140, 229), (230, 221), (320, 229), (410, 220)], sky.lit("#ffffff"), 7)
    x = rng.choice([48, 352])
    pen.line([(x, 150), (x, 268)], sky.lit("#f5f5f5"), 4)
    for part in range(6):
        start = 180 + part * 30
        points = [(x, 150)] + [(x + 50 * c, 182 + 46 * s) for c, s in _arc(start, start + 30)]
        pen.polygon(points, sky.lit("#e85a5a" if part % 2 else "#fff4ea"))
    with pen.at(WIDTH - x + rng.uniform(-20, 20), 282):
        pen.ellipse(0, 0, 14, 14, sky.lit("#ffffff"))
        pen.pie(0, 0, 14, 14, -30, 90, sky.lit("#3a7bd5"))
        pen.pie(0, 0, 14, 14, 150, 270, sky.lit("#f6c343"))


def space(pen: Pen, _: Sky, rng: random.Random) -> None:
    """The ground of the moon below the earth and a ringed planet."""
    fade(pen, "#0d1030", "#3a2a6a", 0, HEIGHT)
    stars(pen, rng, 90, 240)
    x = rng.choice([64, 336])
    pen.ellipse(x, 62, 38, 38, "#3a86d8")
    pen.blob([(x - 26, 44), (x - 6, 34), (x + 4, 50), (x - 10, 66), (x - 28, 60)], "#57b36a")
    pen.blob([(x + 8, 66), (x + 28, 58), (x + 26, 78), (x + 10, 86)], "#57b36a")
    pen.curve([(x - 30, 72), (x - 8, 76), (x + 8, 70)], "#ffffffc0", 4)
    ringed = WIDTH - x
    pen.ellipse(ringed, 96, 22, 22, "#f0b46a")
    pen.curve([(ringed - 20, 90), (ringed, 94), (ringed + 20, 90)], "#d98f48", 5)
    pen.arc(ringed, 97, 38, 9, -30, 210, "#ffe2b0", 4)
    fade(pen, "#b9b7c9", "#8c8aa3", 222, HEIGHT)
    pen.blob([(-20, 236), (90, 214), (200, 222), (310, 212), (420, 232), (420, 250), (-20, 250)], "#b9b7c9")
    for cx, cy, size in ((46, 252, 26), (354, 262, 30), (130, 286, 18), (270, 288, 14), (310, 234, 12)):
        pen.ellipse(cx + rng.uniform(-8, 8), cy, size, size * 0.36, "#7c7a95")
        pen.arc(cx, cy + 1, size, size * 0.36, 20, 160, "#d5d3e2", 2)


def fuji(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """Mount Fuji behind cherry trees."""
    draw_sky(pen, sky, rng, horizon=214, clouds=2)
    peak = rng.uniform(150, 250)
    slope = [(peak - 210, 216), (peak - 110, 150), (peak - 34, 58), (peak - 16, 48), (peak + 16, 48)]
    pen.polygon([*slope, (peak + 34, 58), (peak + 110, 150), (peak + 210, 216)], sky.lit("#5b7fb8"))
    snow = [(peak - 34, 58), (peak - 16, 48), (peak + 16, 48), (peak + 34, 58), (peak + 66, 97), (peak + 44, 90)]
    snow += [(peak + 30, 112), (peak + 10, 92), (peak - 8, 116), (peak - 28, 92), (peak - 46, 106), (peak - 66, 97)]
    pen.polygon(snow, mix("#ffffff", sky.dusk, sky.tint * 0.5))
    pen.blob([(-30, 220), (60, 196), (170, 212), (280, 196), (430, 214), (430, 250), (-30, 250)], sky.lit("#5f9d62"))
    fade(pen, sky.lit("#8cc56a"), sky.lit("#6aa852"), 220, HEIGHT)
    for side, shift in ((-1, rng.uniform(-10, 10)), (1, rng.uniform(-10, 10))):
        x = 200 + side * 176 + shift
        pen.curve([(x, 252), (x - side * 4, 220), (x + side * 2, 190)], sky.lit("#6d4526"), 8)
        for dx, dy, size in ((-18, 4, 20), (2, -12, 24), (22, 2, 19), (4, 10, 18)):
            pen.ellipse(x + dx, 178 + dy, size, size * 0.85, sky.lit("#f9b9cf" if dx < 10 else "#fcd0de"))
    for _ in range(26):
        pen.ellipse(rng.uniform(0, WIDTH), rng.uniform(120, 296), 2.4, 1.6, sky.lit("#fcd0de"), turn=30)


def desert(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """Dunes, pyramids, a cactus."""
    draw_sky(pen, sky, rng, horizon=216, clouds=1)
    for x, size in ((rng.uniform(70, 120), 62), (rng.uniform(270, 330), 84)):
        pen.polygon([(x - size, 208), (x, 208 - size * 0.95), (x + size * 0.25, 208)], sky.lit("#e3b25c"))
        pen.polygon([(x + size, 208), (x, 208 - size * 0.95), (x + size * 0.25, 208)], sky.lit("#c08d3e"))
    pen.blob([(-30, 212), (70, 190), (190, 214), (300, 194), (430, 208), (430, 320), (-30, 320)], sky.lit("#f0c878"))
    pen.blob([(-30, 246), (110, 222), (230, 242), (340, 226), (430, 240), (430, 330), (-30, 330)], sky.lit("#e5b45c"))
    for y in (262, 278, 290):
        x = rng.uniform(0, 240)
        pen.curve([(x, y), (x + 40, y - 5), (x + 80, y), (x + 130, y - 4)], sky.lit("#cf9c46"), 2)
    cactus = rng.choice([40, 362])
    pen.line([(cactus, 250), (cactus, 172)], sky.lit("#4d9a58"), 18)
    pen.line([(cactus, 216), (cactus - 22, 212), (cactus - 22, 194)], sky.lit("#4d9a58"), 11)
    pen.line([(cactus, 228), (cactus + 22, 222), (cactus + 22, 200)], sky.lit("#4d9a58"), 11)
    pen.ellipse(cactus, 164, 6, 5, sky.lit("#f0708c"))


def snow(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """Hills and firs below snow."""
    draw_sky(pen, sky, rng, horizon=214, clouds=2)
    white, shade = sky.lit("#ffffff"), sky.lit("#dbe8f4")
    pen.blob([(-40, 210), (60, 140), (140, 190), (230, 134), (330, 188), (440, 150), (440, 240), (-40, 240)], shade)
    for x in (34, 84, 318, 368, 392):
        size = rng.uniform(0.8, 1.15)
        with pen.at(x + rng.uniform(-8, 8), 234, size):
            pen.box(-4, -12, 4, 2, sky.lit("#6d4526"))
            for layer in range(3):
                y, half = -8 - layer * 22, 28 - layer * 7
                pen.polygon([(-half, y), (half, y), (0, y - 34)], sky.lit("#3f7f62"))
                pen.polygon([(-half * 0.55, y - 16), (half * 0.55, y - 16), (0, y - 34)], white)
    pen.blob([(-40, 236), (80, 222), (200, 236), (320, 220), (440, 234), (440, 330), (-40, 330)], white)
    pen.blob([(-40, 280), (90, 268), (220, 284), (440, 266), (440, 330), (-40, 330)], shade)


def snowfall(pen: Pen, _: Sky, rng: random.Random) -> None:
    """Flakes, in front of everything."""
    for _flake in range(46):
        size = rng.uniform(1.4, 3.6)
        pen.ellipse(rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), size, size, "#ffffffd8")


def festival(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """Stalls, lanterns, fireworks."""
    draw_sky(pen, sky, rng, horizon=234, clouds=0)
    for colour in ("#ff7a8a", "#ffd85c", "#7ee0ff"):
        x, y = rng.uniform(40, 360), rng.uniform(40, 110)
        for ray in range(14):
            c, s = math.cos(ray * math.pi / 7), math.sin(ray * math.pi / 7)
            pen.line([(x + c * 9, y + s * 9), (x + c * 27, y + s * 27)], colour, 2)
            pen.ellipse(x + c * 33, y + s * 33, 2, 2, colour)
    for x0, stripe in ((-16, "#e2574c"), (286, "#3a7bd5")):
        pen.box(x0 + 6, 150, x0 + 124, 252, sky.lit("#8a5a34"))
        pen.box(x0 + 12, 166, x0 + 118, 206, "#ffe9b0")
        for goods in range(5):
            pen.ellipse(x0 + 26 + goods * 19, 200, 8, 8, ("#e2574c", "#f6c343", "#4fae6b")[goods % 3])
        pen.box(x0, 206, x0 + 130, 216, sky.lit("#b98350"))
        for part in range(6):
            fill = stripe if part % 2 else "#fff7ea"
            pen.box(x0 + part * 22, 132, x0 + part * 22 + 22, 158, fill)
            pen.pie(x0 + part * 22 + 11, 158, 11, 9, 0, 180, fill)
    pen.curve([(-10, 20), (100, 42), (200, 26), (300, 42), (410, 18)], "#4a3a3a", 2)
    for x, y in ((40, 40), (110, 50), (180, 38), (250, 44), (320, 50), (376, 38)):
        pen.ellipse(x, y + 8, 22, 24, "#ffb45c44")
        pen.ellipse(x, y + 8, 14, 16, "#f0503c" if x % 20 == 10 or x == 40 else "#fff0d0")
        pen.box(x - 8, y - 10, x + 8, y - 6, "#2b2320")
        pen.box(x - 8, y + 22, x + 8, y + 26, "#2b2320")
    fade(pen, sky.lit("#c8a27a"), sky.lit("#a9825c"), 232, HEIGHT)


def onsen(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """A bath in the open between rocks, a bamboo fence behind."""
    draw_sky(pen, sky, rng, horizon=150, clouds=2)
    pen.blob(
        [(-30, 150), (50, 96), (130, 140), (230, 84), (330, 134), (430, 100), (430, 180), (-30, 180)],
        sky.lit("#7fae7a"),
    )
    pen.box(0, 130, WIDTH, 220, sky.lit("#8c6a34"))
    for x in range(-4, 404, 14):
        pen.box(x, 122, x + 12, 208, sky.lit("#c9a45c" if x // 14 % 2 else "#bd9650"))
    for y in (140, 184):
        pen.box(0, y, WIDTH, y + 5, sky.lit("#7a5a2c"))
    for x in range(-10, 420, 46):
        size = rng.uniform(24, 32)
        pen.blob([(x - size, 226), (x - size * 0.6, 202), (x + size * 0.5, 198), (x + size, 226)], sky.lit("#8d8f98"))
        pen.blob([(x - size * 0.6, 210), (x, 201), (x + size * 0.4, 204), (x - size * 0.2, 212)], sky.lit("#a9abb4"))
    fade(pen, sky.lit("#a5e2e2"), sky.lit("#74c8cf"), 216, HEIGHT)


def bath(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """The water in front of the bather, and the steam."""
    fade(pen, sky.lit("#8fd8dc"), sky.lit("#5cb6c2"), 236, HEIGHT)
    for y in (240, 256, 272):
        x = rng.uniform(-40, 40)
        for step in range(5):
            left = x + step * 96 + (y % 3) * 20
            pen.curve([(left, y), (left + 14, y - 4), (left + 28, y), (left + 44, y - 3)], sky.lit("#d9f6f4"), 2)
    for x in (44, 128, 262, 356):
        _steam(pen, x, rng.uniform(-8, 8))
    for x, size in ((16, 52), (384, 56), (90, 28), (320, 30)):
        pen.blob([(x - size, 306), (x - size * 0.7, 278), (x + size * 0.3, 270), (x + size, 306)], sky.lit("#7d7f89"))
        pen.blob([(x - size * 0.6, 286), (x - size * 0.1, 276), (x + size * 0.3, 280)], sky.lit("#9c9ea8"))


def _steam(pen: Pen, x: float, sway: float) -> None:
    middle = [(x, 218), (x - 12 + sway, 188), (x + 10 + sway, 160), (x - 6, 128), (x + 6, 100)]
    for width in (11, 6):
        half = [0, width * 0.8, width, width * 0.7, 0]
        left = [(px - grow, py) for (px, py), grow in zip(middle, half, strict=True)]
        right = [(px + grow, py) for (px, py), grow in zip(middle, half, strict=True)]
        pen.polygon(np.vstack([smooth(left, closed=False), smooth(right, closed=False)[::-1]]), "#ffffff60")


def _arc(start: float, end: float) -> list[tuple[float, float]]:
    angles = [math.radians(start + (end - start) * step / 6) for step in range(7)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]
