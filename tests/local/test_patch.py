from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from PIL import Image, ImageDraw

from local.board import boards
from local.colour import COLOURS, named
from local.patch import Mask, patches


def flooded(mask: Mask) -> list[int]:
    """Sizes of the connected patches, found by walking from pixel to pixel."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    sizes = []
    while left:
        queue = deque([left.pop()])
        size = 0
        while queue:
            y, x = queue.popleft()
            size += 1
            for neighbour in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if neighbour in left:
                    left.remove(neighbour)
                    queue.append(neighbour)
        sizes.append(size)
    return sorted(sizes, reverse=True)


@pytest.mark.parametrize("density", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_finds_the_same_patches_as_walking_does(density: float):
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random(rng.integers(1, 30, 2)) < density
        found = patches(mask, np.zeros(mask.shape, np.int64), 0.0)
        assert [round(patch.share * mask.size) for patch in found] == flooded(mask)


@pytest.mark.parametrize(
    ("shape", "roundness", "fill"), [("ellipse", 0.98, 0.79), ("rectangle", 0.64, 1.0), ("triangle", 0.45, 0.5)]
)
def test_measures_shapes(shape: str, roundness: float, fill: float):
    image = Image.new("RGB", (120, 120), "white")
    draw = ImageDraw.Draw(image)
    if shape == "triangle":
        draw.polygon([(60, 30), (25, 90), (95, 90)], fill="red")
    else:
        getattr(draw, shape)((30, 30, 90, 90), fill="red")
    colours = named(image)
    patch = patches(colours != COLOURS.index("White"), colours, 0.01)[0]
    assert COLOURS[patch.colour] == "Red"
    assert patch.roundness == pytest.approx(roundness, abs=0.12)
    assert patch.fill == pytest.approx(fill, abs=0.05)


@pytest.mark.parametrize("name", COLOURS)
def test_colours_have_the_names_that_people_use(name: str):
    css = {"Beige": "wheat", "Turquoise": "darkturquoise"}.get(name, name)
    assert COLOURS[named(Image.new("RGB", (1, 1), css))[0, 0]] == name


def test_a_board_is_a_patch_with_marks_on_it():
    image = Image.new("RGB", (320, 240), "seagreen")
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 60, 200, 110), fill="ivory")
    draw.rectangle((220, 150, 300, 190), fill="ivory")  # an empty one is none
    for x in range(60, 180, 30):
        draw.rectangle((x, 72, x + 16, 98), fill="black")
    found = boards(image)
    assert len(found) == 1
    assert found[0].left == pytest.approx(40 / 320, abs=0.01)
    assert found[0].height == pytest.approx(51 / 240, abs=0.01)
