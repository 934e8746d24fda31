"""Made-up records in the two shapes that are measured, as the typed items that a table would give."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

LABELS = 10  # of a picture
NAMES = 2_500  # about as many as Rekognition knows
LABEL_LISTS = 20_000  # that differ; pictures draw from them
LINE_WORDS = (3, 16)
WORDS = 20_000  # that differ
CHARACTERS = [chr(code) for code in (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7), *range(0x4E00, 0x4E00 + 1200))]
TEXT_SHARE, SCORE_SHARE = 0.2, 0.5


@dataclass(frozen=True)
class Shape:
    """How records belong to pictures.

    Attributes:
        name: in the results.
        lines: for each picture.
    """

    name: str
    lines: int


SHAPES = {shape.name: shape for shape in (Shape("ten lines a picture", 10), Shape("one line a picture", 1))}


def segments(records: int, shape: Shape, count: int) -> Iterator[Iterator[str]]:
    """The items of each segment of a table, as JSON. Pictures come in no order, their lines sorted, as in a table."""
    pictures = list(range(records // shape.lines))
    random.Random(0).shuffle(pictures)  # noqa: S311
    lists = _label_lists()
    for segment in range(count):
        yield _items(pictures[segment::count], shape, lists)


def _items(pictures: list[int], shape: Shape, lists: list[str]) -> Iterator[str]:
    for picture in pictures:
        rng = random.Random(picture)  # noqa: S311
        text = f',"DetectedText":{{"S":"{_line(rng)}"}}' if rng.random() < TEXT_SHARE else ""
        known = f'"Labels":{rng.choice(lists)}{text}'
        for line in sorted({_line(rng) for _ in range(shape.lines)}):
            score = f',"Score":{{"N":"{rng.randrange(200)}"}}' if rng.random() < SCORE_SHARE else ""
            key = f'"ImageKey":{{"S":"picture-{picture:07}-0123456789ab.jpg"}}'
            yield f'{{{key},"ExpectedResult":{{"S":"{line}"}},{known}{score}}}'


def _line(rng: random.Random) -> str:
    words, weights = _words()
    return "".join(rng.choices(words, cum_weights=weights, k=rng.randint(*LINE_WORDS)))


@cache
def _words() -> tuple[list[str], list[float]]:
    """Words of one to four characters, and how often they come, by Zipf's law, added up."""
    rng = random.Random(2)  # noqa: S311
    words = ["".join(rng.choices(CHARACTERS, k=rng.randint(1, 4))) for _ in range(WORDS)]
    return words, list(accumulate(1 / rank for rank in range(1, WORDS + 1)))


def _label_lists() -> list[str]:
    """Labels of a picture, best first, as JSON."""
    rng = random.Random(1)  # noqa: S311
    names = [f"Label Name {number}" for number in range(NAMES)]
    found = []
    for _ in range(LABEL_LISTS):
        confidences = sorted((rng.uniform(50, 100) for _ in range(LABELS)), reverse=True)
        labels = [
            {"M": {"Name": {"S": name}, "Confidence": {"N": f"{confidence:.4f}"}}}
            for name, confidence in zip(rng.sample(names, LABELS), confidences, strict=True)
        ]
        found.append(json.dumps({"L": labels}, separators=(",", ":")))
    return found
