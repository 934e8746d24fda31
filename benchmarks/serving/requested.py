"""What is asked: pictures of a wanted size in bytes, and the documents that hold them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

JSON_HEADERS = {"Content-Type": "application/json"}
SEED = 0
QUALITY = 92
TOLERANCE = 0.1
BYTES_PER_PIXEL = 0.6  # of what `_photo` draws, to begin with
PICTURE_BYTES = 100_000
"""As photographs for the web have."""


def picture(wanted_bytes: int) -> bytes:
    """A JPEG of about so many bytes: smooth colours with grain, as a photograph."""
    pixels = wanted_bytes / BYTES_PER_PIXEL
    while True:
        data = _photo(int(pixels))
        if abs(len(data) / wanted_bytes - 1) <= TOLERANCE:
            return data
        pixels *= wanted_bytes / len(data)


def document(data: bytes, tokens: int | None, **parameters: Any) -> dict[str, Any]:
    """A request for a line of exactly so many tokens; None = as many as the model likes."""
    length = {} if tokens is None else {"min_length": tokens, "max_length": tokens}
    return {"image": base64.b64encode(data).decode(), "parameters": {**length, **parameters}}


def raw_headers(tokens: int | None) -> dict[str, str]:
    """The headers of a request whose body is the picture."""
    length = "" if tokens is None else f"min_length={tokens},max_length={tokens}"
    return {"Content-Type": "image/jpeg", "X-Amzn-SageMaker-Custom-Attributes": length}


def _photo(pixels: int) -> bytes:
    height = max(8, round((pixels * 3 / 4) ** 0.5))
    width = max(8, round(pixels / height))
    random = np.random.default_rng(SEED)
    small = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-24, 25, (height, width, 1), np.int16)
    out = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
