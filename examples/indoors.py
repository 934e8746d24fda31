"""The places with a roof; the time of day shows in their windows."""

import random

import numpy as np

from examples.pen import Pen, smooth
from examples.sky import HEIGHT, WIDTH, Sky, cloud, fade, mix, stars


def office(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """Desks with screens, binders, the town in the window."""
    fade(pen, "#f4efe2", "#e9e0cc", 0, 212)
    for x in (70, 250):
        pen.box(x - 6, 10, x + 86, 18, "#ffffff", 3)
    _window(pen, sky, 26, 40, 214, 140)
    for column, height in enumerate((44, 70, 30, 58, 80, 40, 62)):
        x = 30 + column * 26
        pen.box(x, 140 - height, x + 22, 140, sky.lit("#8ea3bd" if column % 2 else "#7489a8"))
        for row in range(1, height // 14):
            for dx in (4, 12):
                lamp = "#ffe68a" if sky.name != "day" and rng.random() < 0.6 else sky.lit("#b9c8da")
                pen.box(x + dx, 140 - row * 14, x + dx + 5, 146 - row * 14, lamp)
    pen.box(117, 40, 122, 140, "#ffffff")
    _clock(pen, 262, 62, rng)
    pen.box(300, 56, 380, 212, "#a8b4bf", 3)
    for row in range(4):
        pen.box(305, 62 + row * 37, 375, 94 + row * 37, "#c4ced7", 2)
        for binder in range(8):
            fill = ("#e2574c", "#3a7bd5", "#4fae6b", "#f6c343")[(binder * 3 + row) % 4]
            pen.box(308 + binder * 8, 66 + row * 37, 314 + binder * 8, 93 + row * 37, fill, 1)
    fade(pen, "#8fa5b3", "#7c93a3", 212, HEIGHT)
    for x in (-30, 300):
        pen.box(x, 196, x + 130, 206, "#d9a868", 2)
        pen.box(x + 6, 206, x + 124, 252, "#b98350")
        pen.box(x + 40, 152, x + 92, 188, "#3d424c", 4)
        pen.box(x + 44, 156, x + 88, 184, "#9ed4f0")
        pen.box(x + 62, 188, x + 70, 196, "#3d424c")
        pen.box(x + 14, 184, x + 34, 196, "#fffdf6")


def konbini(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """The lit front of a convenience store."""
    fade(pen, sky.top, sky.bottom, 0, 90)
    if sky.name == "night":
        stars(pen, rng, 20, 40)
    else:
        cloud(pen, sky, rng.uniform(60, 340), 24, 0.8)
    pen.box(0, 46, WIDTH, 232, "#fbfbf6")
    for top, fill in ((46, "#2f9e5a"), (60, "#ffffff"), (66, "#f08a2e"), (78, "#ffffff"), (84, "#d8404a")):
        pen.box(0, top, WIDTH, top + 14, fill)
    pen.box(0, 96, WIDTH, 104, "#fff9cf")
    pen.box(0, 104, WIDTH, 226, mix("#fff6cf", sky.top, 0.1 if sky.name == "night" else 0.22))
    for x in (8, 84, 254, 330):
        for row in range(3):
            y = 126 + row * 32
            for item in range(6):
                fill = ("#e2574c", "#f6c343", "#4fae6b", "#3a7bd5", "#e86a92")[rng.randrange(5)]
                pen.box(x + item * 10 + 1, y - rng.uniform(10, 18), x + item * 10 + 9, y + 5, fill, 1.5)
            pen.box(x - 2, y + 5, x + 62, y + 9, "#b9b4a2")
    pen.box(154, 104, 246, 228, "#dff1f5")
    for x in (2, 76, 150, 198, 246, 322, 394):
        pen.box(x, 104, x + 4, 228, "#9aa6ac")
    pen.polygon([(166, 116), (182, 116), (162, 200), (158, 200)], "#ffffff90")
    pen.box(0, 224, WIDTH, 234, "#8a9298")
    fade(pen, sky.lit("#b9bcc0"), sky.lit("#9a9ea3"), 234, HEIGHT)
    for x in (60, 330):
        pen.box(x, 284, x + 60, 289, sky.lit("#ffffff"))


def school(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """A classroom with its blackboard."""
    fade(pen, "#fbf3de", "#f2e6c6", 0, 208)
    pen.box(92, 36, 376, 152, "#a8794a", 3)
    pen.box(99, 43, 369, 145, "#2f6b54")
    pen.box(92, 150, 376, 157, "#8d6238", 2)
    for x, fill in ((130, "#ffffff"), (150, "#f7d7e0"), (300, "#fff3b0")):
        pen.box(x, 146, x + 13, 150, fill, 1)
    x = rng.choice([126, 324])
    pen.arc(x, 86, 17, 17, 0, 360, "#d9efe2", 2)
    pen.line([(x - 17, 122), (x, 104), (x + 17, 122)], "#d9efe2", 2)
    for dx in (-7, 7):
        pen.ellipse(x + dx, 83, 2, 2.5, "#d9efe2")
    pen.arc(x, 88, 8, 6, 20, 160, "#d9efe2", 2)
    _window(pen, sky, 8, 46, 78, 150)
    cloud(pen, sky, 42, 84, 0.6)
    pen.box(41, 46, 45, 150, "#ffffff")
    _clock(pen, 234, 20, rng)
    for row in range(6):
        y = 208 + row * 16
        pen.box(0, y, WIDTH, y + 16, "#d9a868" if row % 2 else "#d0a05e")
    for x in (20, 306):
        pen.box(x, 210, x + 74, 219, "#e8bd7c", 3)
        pen.box(x + 4, 219, x + 70, 230, "#c9965a", 2)
        for leg in (x + 7, x + 63):
            pen.box(leg, 230, leg + 4, 268, "#8f9aa3")
        pen.box(x + 16, 205, x + 42, 211, "#3a7bd5", 1)


def train(pen: Pen, sky: Sky, rng: random.Random) -> None:
    """Inside: a bench, straps, houses behind the windows."""
    fade(pen, "#f2f4f5", "#dfe5e8", 0, 242)
    pen.box(0, 0, WIDTH, 22, "#c3ccd2")
    for x in (14, 146, 278):
        _window(pen, sky, x, 56, x + 108, 146)
        hill = rng.uniform(0, 30)
        ridge = smooth([(x, 124), (x + 30 + hill, 106), (x + 80, 118), (x + 108, 128)], closed=False)
        pen.polygon(np.vstack([ridge, [(x + 108, 146), (x, 146)]]), sky.lit("#7fae7a"))
        for step in range(3):
            left, height = x + 10 + step * 32, rng.uniform(12, 28)
            pen.box(left, 146 - height, left + 20, 146, sky.lit("#9fb0c0"))
            pen.box(left + 6, 150 - height, left + 12, 155 - height, sky.lit("#f4f0c8"))
    pen.box(0, 148, WIDTH, 152, "#aab4ba")
    pen.box(0, 30, WIDTH, 34, "#98a4ac")
    for x in range(28, WIDTH, 58):
        pen.line([(x, 34), (x, 54)], "#e9e3d0", 4)
        pen.arc(x, 64, 10, 10, 0, 360, "#fdfaf0", 4)
    pen.box(6, 166, 394, 214, "#3f8f6a", 8)
    for x in range(70, 390, 65):
        pen.box(x, 168, x + 2, 212, "#357a5a")
    pen.box(2, 208, 398, 232, "#4aa57c", 8)
    pen.box(10, 232, 390, 242, "#7d868c")
    fade(pen, "#b6aa9a", "#a39684", 240, HEIGHT)
    for x in (4, 390):
        pen.box(x, 22, x + 6, 250, "#d5dade", 3)


def stage(pen: Pen, _: Sky, rng: random.Random) -> None:
    """Red curtains, a golden screen, one microphone."""
    fade(pen, "#4a1626", "#7a2436", 0, 222)
    pen.box(70, 44, 330, 222, "#f0d088")
    for column in range(5):
        pen.box(70 + column * 52, 44, 121 + column * 52, 222, "#f3d891" if column % 2 else "#ecc974")
    pen.polygon([(rng.uniform(150, 170), 0), (rng.uniform(230, 250), 0), (330, 270), (70, 270)], "#fff8d840")
    fade(pen, "#c98d52", "#a86f3c", 222, HEIGHT)
    for x in range(-100, 520, 50):
        pen.line([(200 + (x - 200) * 0.75, 222), (x, HEIGHT)], "#96602f", 1.6)
    pen.ellipse(200, 268, 130, 24, "#fff2c866")
    for side in (-1, 1):
        for fold in range(4):
            x = 200 + side * (200 - fold * 20)
            fill = "#c8303f" if fold % 2 else "#a82434"
            pen.blob(
                [(x, -20), (x - side * 24, -10), (x - side * 22, 130), (x - side * 14, 240), (x + side * 10, 240)], fill
            )
    for part in range(8):
        pen.pie(25 + part * 50, 18, 27, 26, 0, 180, "#c8303f" if part % 2 else "#b52a39")
    pen.box(0, 0, WIDTH, 20, "#a82434")
    for part in range(8):
        pen.arc(25 + part * 50, 20, 26, 24, 10, 170, "#f0c84c", 3)
    x = rng.choice([98, 302])
    pen.line([(x, 172), (x, 262)], "#4b4b55", 3.5)
    pen.ellipse(x, 264, 16, 5, "#3a3a44")
    pen.box(x - 8, 144, x + 8, 176, "#6b6e7a", 8)
    for y in (152, 158, 164):
        pen.line([(x - 6, y), (x + 6, y)], "#9da1ae", 1.6)


def _window(pen: Pen, sky: Sky, x0: float, y0: float, x1: float, y1: float) -> None:
    pen.box(x0 - 5, y0 - 5, x1 + 5, y1 + 5, "#ffffff", 4)
    fade(pen, sky.top, sky.bottom, y0, y1, x0, x1)


def _clock(pen: Pen, x: float, y: float, rng: random.Random) -> None:
    pen.ellipse(x, y, 17, 17, "#5a4a42")
    pen.ellipse(x, y, 14, 14, "#ffffff")
    pen.line([(x, y), (x + rng.uniform(-8, 8), y - 9)], "#2b2320", 2)
    pen.line([(x, y), (x + 6, y + rng.uniform(-5, 5))], "#2b2320", 2.4)
