"""Bytes → RGB, exactly as training and serving both see it.

Training calls `load` once for every picture of the training data, serving calls the same `load` for every request, so
a picture never looks different to the two. Colour profiles are ignored on purpose: the encoder was trained without
them, and most pictures are sRGB.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
REDUCING_GAP = 2.0  # decode or box-reduce to no less than twice the target, then filter: fast, and looks the same

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_warnings_lock = threading.Lock()

T = TypeVar("T")
RGB = NDArray[np.uint8]


class PictureError(ValueError):
    """Bytes that are no whole picture in one of `FORMATS`; the message says why."""


class PictureTooLarge(PictureError):
    """A picture of more than `MAX_PIXELS`; its pixels were never decoded."""


def decode(data: bytes) -> RGB:
    """The whole picture, upright, its first frame, on white where it is transparent.

    Returns:
        uint8 (height, width, 3).

    Raises:
        PictureTooLarge: the header states more than `MAX_PIXELS`.
        PictureError: empty, no picture, another format, cut off or damaged.
    """
    return _array(_upright(data))


def fit(rgb: RGB, size: int) -> RGB:
    """The whole picture squeezed into a square. Nothing is cropped: lettering stands at the edges.

    Args:
        rgb: uint8 (height, width, 3).
        size: side of the square in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    return _array(_squeezed(Image.fromarray(rgb), size))


def load(data: bytes, size: int) -> RGB:
    """`fit(decode(data), size)`, but a large JPEG is decoded at a fraction of its size (some levels of 255 may differ).

    Returns:
        uint8 (size, size, 3).

    Raises:
        PictureTooLarge, PictureError: as `decode`.
    """
    return _array(_squeezed(_upright(data, round(size * REDUCING_GAP)), size))


def _upright(data: bytes, draft_size: int | None = None) -> Image.Image:
    """The picture in RGB, turned as its EXIF says; a JPEG may come smaller, both sides `draft_size` at least."""
    with _opened(data) as image:
        if draft_size is not None:
            image.draft(None, (draft_size, draft_size))
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # the codecs raise nearly anything for damaged data
            raise PictureError(f"the {image.format} picture is cut off or damaged ({error})") from error
        rgb = _rgb(image)
        turn = _TURNS.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    if not data:
        raise PictureError("the picture is empty (0 bytes)")
    try:
        image = _quietly(lambda: Image.open(io.BytesIO(data), formats=FORMATS))
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(f"the picture has more than {MAX_PIXELS:,} pixels, the most that is taken") from error
    except MemoryError:
        raise
    except Exception as error:
        raise PictureError(_unopened(data, error)) from error
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PictureTooLarge(
                f"the picture has {width} x {height} = {width * height:,} pixels: at most {MAX_PIXELS:,} are taken"
            )
        if width * height == 0:
            raise PictureError(f"the {image.format} picture has no pixels ({width} x {height})")
        yield image


def _unopened(data: bytes, error: Exception) -> str:
    starts = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8", "WEBP": b"RIFF", "BMP": b"BM"}
    for name, start in starts.items():
        if data.startswith(start) and (name != "WEBP" or data[8:12] == b"WEBP"):
            reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
            return f"the {name} picture is cut off or damaged{reason}"
    return "this is no picture in a format that is taken: " + ", ".join(FORMATS)


def _quietly(call: Callable[[], T]) -> T:
    """Pillow warns of odd metadata and of sizes that are checked here anyway.

    The filters of `warnings` belong to the whole process, hence the lock; only headers are read under it.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def _orientation(image: Image.Image) -> int:
    try:
        return int(_quietly(lambda: image.getexif().get(ExifTags.Base.Orientation, 1)))
    except Exception:  # broken EXIF is no reason to refuse a good picture
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer)
        return white
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey clips at 255 instead of scaling."""
    levels = np.asarray(image)
    grey = (levels >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[levels == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _squeezed(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)


def _array(image: Image.Image) -> RGB:
    return np.array(image, dtype=np.uint8)  # a copy: a view of Pillow's memory is read-only, and torch warns of that
