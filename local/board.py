"""Where something may be written: signboards, banners and bubbles, patches of one colour that enclose marks."""

from __future__ import annotations

from PIL import Image

from local.colour import COLOURS, Indices, named, shares
from local.label import Box
from local.patch import patches

LONGER_SIDE = 320  # pixels at which boards are looked for
SMALLEST_SHARE, LARGEST_SHARE = 0.01, 0.35  # of the picture
SMALLEST_FILL = 0.7  # of its box: boards are rectangles, with round corners at most
SMALLEST_MARK = 0.003  # of the board: less is a speck
FEWEST_MARKS = 2
MARKED = (0.08, 0.5)  # part of a board that its marks cover
MAX_BOARDS = 2


def boards(image: Image.Image) -> list[Box]:
    """The likely boards of a picture, those with the most writing first."""
    small = image.copy()
    small.thumbnail((LONGER_SIDE, LONGER_SIDE))
    colours = named(small)
    parts = shares(colours)
    found: list[tuple[float, Box]] = []
    for index in range(len(COLOURS)):
        if parts[index] < SMALLEST_SHARE:
            continue
        for patch in patches(colours == index, colours, SMALLEST_SHARE):
            if patch.share > LARGEST_SHARE or patch.fill < SMALLEST_FILL:
                continue
            marked = _marked(colours, index, patch.box)
            if MARKED[0] <= marked <= MARKED[1]:
                found.append((marked * patch.share, patch.box))
    return [box for _, box in sorted(found, key=lambda board: -board[0])[:MAX_BOARDS]]


def _marked(colours: Indices, index: int, box: Box) -> float:
    """The part of a box that is covered by marks which the colour encloses on all sides."""
    height, width = colours.shape
    top, left = round(box.top * height), round(box.left * width)
    cut = colours[top : top + round(box.height * height), left : left + round(box.width * width)]
    marks = [
        mark
        for mark in patches(cut != index, cut, SMALLEST_MARK)
        if mark.box.left > 0 and mark.box.top > 0 and mark.box.left + mark.box.width < 1
        if mark.box.top + mark.box.height < 1
    ]
    return sum(mark.share for mark in marks) if len(marks) >= FEWEST_MARKS else 0.0
