"""Smaller copies of pictures, for those who do not take the original."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

_SIDES = (4096, 2048, 1024, 512)  # pixels; the first whose JPEG is small enough


def jpeg_copy(image: Image.Image, max_bytes: int, min_side: int = 1) -> bytes:
    """A JPEG of at most so many bytes: upright, first frame, on white, no side shorter than `min_side`.

    Raises whatever the codecs raise for damaged data.
    """
    image.draft("RGB", (_SIDES[0], _SIDES[0]))
    rgb = _on_white(ImageOps.exif_transpose(image))
    data = b""
    for side in _SIDES:
        rgb.thumbnail((side, side))
        canvas = Image.new("RGB", (max(rgb.width, min_side), max(rgb.height, min_side)), "white")
        canvas.paste(rgb)
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=90)
        data = buffer.getvalue()
        if len(data) <= max_bytes:
            break
    return data


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGB", layer.size, "white")
    white.paste(layer, mask=layer)
    return white
