"""A made-up upload: so many rows for so many pictures, as a CSV, and the pictures themselves."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (640, 480)
KEY = "uploads/rows.csv"


def draw(folder: Path, pictures: int) -> None:
    """Clouds of colour as JPEG, `N.jpg`, no two alike."""
    rng = np.random.default_rng(0)
    for number in range(pictures):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        small.resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=85)


def table(url: str, rows: int, pictures: int) -> bytes:
    """`image_url,expected_result,score`: every picture has a line, the rest is spread over them; no row comes twice.

    Args:
        url: before each picture's `N.jpg`.
        rows: not fewer than pictures.
        pictures: that the rows are about.
    """
    rng = random.Random(0)  # noqa: S311
    numbers = [*range(pictures), *(rng.randrange(pictures) for _ in range(rows - pictures))]
    rng.shuffle(numbers)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image_url", "expected_result", "score"])
    for row, number in enumerate(numbers):
        writer.writerow([f"{url}{number}.jpg", f"一言、その{row}", rng.randrange(100)])
    return text.getvalue().encode()
