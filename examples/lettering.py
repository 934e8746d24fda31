"""Japanese words in the picture, dark on light so that they can be read: on a sign, a banner or in a speech bubble."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from examples.pen import Pen, Point
from examples.sky import WIDTH

FONT_PACKAGE = "matplotlib_fontja"
INK = "#2a2430"


class Lettering(NamedTuple):
    """Words, what they stand on, and where the middle of the words lies."""

    words: str
    kind: str  # sign, banner or bubble
    x: float
    y: float
    size: float  # of one character

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the words."""
        half = len(self.words) * self.size / 2
        return self.x - half, self.y - self.size / 2, self.x + half, self.y + self.size / 2


def lettering(words: str, kind: str, x: float) -> Lettering:
    """Words laid out so that they and their board stay inside the picture, as near to x as possible."""
    size = {"sign": 35.0, "banner": 40.0, "bubble": 32.0}[kind] - max(0, len(words) - 4) * 1.5
    margin = len(words) * size / 2 + 26
    y = {"sign": 148.0, "banner": 46.0, "bubble": 42.0}[kind]
    return Lettering(words, kind, WIDTH / 2 if kind == "banner" else min(max(x, margin), WIDTH - margin), y, size)


def draw_board(pen: Pen, board: Lettering, mouth: Point) -> None:
    """The board below the words; a speech bubble points at the mouth."""
    left, top, right, bottom = board.box
    if board.kind == "sign":
        pen.box(board.x - 6, bottom, board.x + 6, 272, "#8a5a34")
        pen.ellipse(board.x, 272, 24, 6, "#00000030")
        pen.box(left - 21, top - 20, right + 21, bottom + 20, "#8a5a34", 6)
        pen.box(left - 16, top - 15, right + 16, bottom + 15, "#fffaf0", 3)
    elif board.kind == "banner":
        pen.curve([(-10, top - 26), (WIDTH / 2, top - 12), (WIDTH + 10, top - 26)], "#8a5a34", 3)
        pen.box(left - 27, top - 18, right + 27, bottom + 18, "#d8404a", 4)
        pen.box(left - 19, top - 11, right + 19, bottom + 11, "#fffdf4")
    else:
        lean = min(max(mouth[0], left + 20), right - 20)
        reach = min(mouth[1], bottom + 48)
        for grow, fill in ((2.4, INK), (0.0, "#ffffff")):
            pen.polygon(
                [(lean - 13 - grow, bottom + 8), (lean + 13 + grow, bottom + 8), (mouth[0], reach + grow * 2)], fill
            )
            pen.box(left - 16 - grow, top - 14 - grow, right + 16 + grow, bottom + 14 + grow, fill, 24)


def draw_words(image: Image.Image, board: Lettering, unit: float) -> None:
    """The words themselves, bold."""
    font = japanese_font(round(board.size * unit))
    fill = "#b3202c" if board.kind == "banner" else INK
    draw = ImageDraw.Draw(image)
    middle = (board.x * unit, board.y * unit)
    draw.text(middle, board.words, fill, font, anchor="mm", stroke_width=round(0.4 * unit), stroke_fill=fill)


@cache
def japanese_font(pixels: int) -> ImageFont.FreeTypeFont:
    """IPAexGothic at a size."""
    return ImageFont.truetype(str(font_file()), pixels)


def font_file() -> Path:
    """The font that the package carries, found without importing it (and so without matplotlib)."""
    spec = importlib.util.find_spec(FONT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the Japanese font comes with {FONT_PACKAGE}, which is not installed: make setup")
    return Path(spec.submodule_search_locations[0]) / "fonts" / "ipaexg.ttf"
