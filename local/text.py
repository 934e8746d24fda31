"""What is written in a picture, read by Tesseract where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import threading
from dataclasses import dataclass
from typing import Any

import pytesseract as pytesseract_untyped
from PIL import Image

from local.board import boards
from local.label import Box

pytesseract: Any = pytesseract_untyped

SMALLEST_CONFIDENCE = 80.0  # most of what Tesseract reads into bushes and fences lies below
SMALLEST_PIECE_CONFIDENCE = 40.0  # of one character in a word that is surer as a whole
PICTURE_PIXELS = 448  # length of the longer side at which a whole picture is read
BOARD_PIXELS = 160  # and a board
MARGIN = 12  # pixels of white around each part that is read
WHOLE = Box(0.0, 0.0, 1.0, 1.0)
SECONDS_A_PICTURE = 30
_JAPANESE = r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef々ー]"
_GAP = re.compile(rf"(?<={_JAPANESE})\s+(?={_JAPANESE})")
_LETTER = re.compile(r"[^\W_]")


@dataclass(frozen=True)
class Word:
    """A word, or a run of Japanese characters; confidence 0 to 100."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class Line:
    """A line of words, left to right."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words, joined by spaces."""
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """The mean confidence of the words."""
        return sum(word.confidence for word in self.words) / len(self.words)

    @property
    def box(self) -> Box:
        """Where the line is."""
        return Box.around(word.box for word in self.words)


class Reader:
    """Reads Japanese and English as far as Tesseract's languages are installed; without Tesseract it finds nothing."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.languages = _languages() if enabled else ()
        self._cores = threading.BoundedSemaphore(os.cpu_count() or 1)

    def describe(self) -> str:
        """One line for the log."""
        if not self.languages:
            return "no text is read: Tesseract is not installed, or it is switched off"
        missing = "" if "jpn" in self.languages else "; Japanese is not installed (package tesseract-ocr-jpn)"
        return f"text is read by Tesseract ({'+'.join(self.languages)}){missing}"

    def read(self, image: Image.Image) -> list[Line]:
        """The lines on the boards of a picture, or, where it has no boards, those anywhere in it."""
        if not self.languages:
            return []
        parts = boards(image)
        sheet = _sheet(image, parts, BOARD_PIXELS) if parts else _sheet(image, [WHOLE], PICTURE_PIXELS)
        with self._cores:
            found = pytesseract.image_to_data(
                sheet.image,
                lang="+".join(self.languages),
                config="--psm 6",
                timeout=SECONDS_A_PICTURE,
                output_type=pytesseract.Output.DICT,
            )
        lines: dict[tuple[int, int, int], list[Word]] = {}
        for index, text in enumerate(found["text"]):
            confidence = float(found["conf"][index])
            if confidence < SMALLEST_PIECE_CONFIDENCE:
                continue
            left, top, width, height = (found[side][index] for side in ("left", "top", "width", "height"))
            number = (found["block_num"][index], found["par_num"][index], found["line_num"][index])
            lines.setdefault(number, []).append(Word(text.strip(), confidence, sheet.place(left, top, width, height)))
        words = [
            [word for word in _joined(line) if word.confidence >= SMALLEST_CONFIDENCE and _is_word(word.text)]
            for line in lines.values()
        ]
        return [Line(tuple(line)) for line in words if line]


@dataclass(frozen=True)
class Sheet:
    """Parts of a picture, enlarged and put below each other on white, so that one call reads them all.

    Attributes:
        image: the sheet.
        pasted: for each part its top on the sheet, its scale, and the part.
        size: width and height of the picture, pixels.
    """

    image: Image.Image
    pasted: tuple[tuple[int, float, Box], ...]
    size: tuple[int, int]

    def place(self, left: int, top: int, width: int, height: int) -> Box:
        """Where in the picture a rectangle of the sheet is."""
        start, scale, part = next(pasted for pasted in reversed(self.pasted) if pasted[0] <= top or pasted[0] == MARGIN)
        across, down = scale * self.size[0], scale * self.size[1]
        return Box(part.left + (left - MARGIN) / across, part.top + (top - start) / down, width / across, height / down)


def _sheet(image: Image.Image, parts: list[Box], pixels: int) -> Sheet:
    cuts = []
    for part in parts:
        corners = (part.left, part.top, part.left + part.width, part.top + part.height)
        cut = image.crop(tuple(round(c * side) for c, side in zip(corners, image.size * 2, strict=True)))  # type: ignore[arg-type]
        scale = max(1.0, pixels / max(cut.size))
        size = (round(cut.width * scale), round(cut.height * scale))
        cuts.append((cut.resize(size, Image.Resampling.BICUBIC), scale, part))
    width = max(cut.width for cut, _, _ in cuts) + 2 * MARGIN
    sheet = Image.new("RGB", (width, sum(cut.height + MARGIN for cut, _, _ in cuts) + MARGIN), "white")
    pasted = []
    top = MARGIN
    for cut, scale, part in cuts:
        sheet.paste(cut, (MARGIN, top))
        pasted.append((top, scale, part))
        top += cut.height + MARGIN
    return Sheet(sheet, tuple(pasted), image.size)


def _is_word(text: str) -> bool:
    """Single letters and dashes are mostly branches, fences and stripes."""
    return len(_LETTER.findall(text.replace("ー", ""))) >= 2


def _joined(words: list[Word]) -> list[Word]:
    """Tesseract cuts Japanese into single characters: neighbours become one word again."""
    joined: list[Word] = []
    for word in words:
        together = f"{joined[-1].text} {word.text}" if joined else ""
        if joined and _GAP.search(together):
            last = joined.pop()
            characters = len(last.text) + len(word.text)
            confidence = (last.confidence * len(last.text) + word.confidence * len(word.text)) / characters
            word = Word(_GAP.sub("", together), confidence, Box.around((last.box, word.box)))
        joined.append(word)
    return joined


def _languages() -> tuple[str, ...]:
    if shutil.which("tesseract") is None:
        return ()
    installed = pytesseract.get_languages()
    return tuple(name for name in ("jpn", "eng") if name in installed)
