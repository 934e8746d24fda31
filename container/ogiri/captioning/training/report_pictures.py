"""Which pictures a report shows, and their thumbnails, none of which is larger than a bound."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ogiri import picture
from ogiri.captioning.training.report_page.data import Shown, Thumbnail

EACH = 4  # pictures of a group
MAX_THUMBNAIL_BYTES = 40_000
_LONGER_SIDES = (360, 240, 160, 96)  # pixels; the next one is taken where a picture stays too large
_QUALITY = 72


def choose(scores: Sequence[float], each: int = EACH) -> list[tuple[str, int]]:
    """Group and index of the best, of those in the middle and of the worst, no index twice, best first."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    if len(order) <= 3 * each:
        best, middle, worst = (part.tolist() for part in np.array_split(np.array(order, np.int64), 3))
    else:
        start = (len(order) - each) // 2
        best, middle, worst = order[:each], order[start : start + each], order[-each:]
    groups = {"best": best, "middle": middle, "worst": worst}
    return [(name, index) for name, indices in groups.items() for index in indices]


def show(folder: Path, samples: Sequence[Mapping[str, Any]], each: int = EACH) -> list[tuple[int, Shown]]:
    """The chosen ones of `samples` with their index; `folder` holds the pictures."""
    shown = []
    for group, index in choose([sample["chrf"] for sample in samples], each):
        sample = samples[index]
        try:
            small, reason = thumbnail((folder / sample["image_key"]).read_bytes()), ""
        except (OSError, picture.PictureError) as error:  # it was there when training began; a report goes on without
            small, reason = None, str(error)
        shown.append((index, Shown(group, sample, small, reason)))
    return shown


def thumbnail(data: bytes) -> Thumbnail:
    """A small WebP picture, upright, of at most `MAX_THUMBNAIL_BYTES`.

    Raises:
        PictureError: the bytes are no picture.
    """
    image = Image.fromarray(picture.decode(data))
    for side in _LONGER_SIDES:
        image.thumbnail((side, side))
        out = io.BytesIO()
        image.save(out, "WEBP", quality=_QUALITY)
        if out.tell() <= MAX_THUMBNAIL_BYTES:
            break
    return Thumbnail(out.getvalue(), *image.size)
