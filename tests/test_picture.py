import contextlib
import io
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from ogiri import picture
from ogiri.picture import PictureError, PictureTooLarge

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    image = Image.new("RGB", (width, height), WHITE)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (max(height // 16, 1), max(width // 16, 1), 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height))


def corners(rgb: np.ndarray) -> list[tuple[int, ...]]:
    """Top left, top right, bottom left, bottom right."""
    return [tuple(int(v) for v in rgb[y, x]) for y in (3, -4) for x in (3, -4)]


def close(rgb, expected, tolerance: int = 6) -> bool:
    return bool(np.abs(np.asarray(rgb, dtype=int) - np.asarray(expected, dtype=int)).max() <= tolerance)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header states a size; its pixels are not there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = (header, *chunks, (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


WHOLE = {
    "jpeg": encoded(quarters(), "JPEG", quality=95),
    "progressive jpeg": encoded(quarters(), "JPEG", quality=95, progressive=True),
    "png": encoded(quarters(), "PNG"),
    "webp": encoded(quarters(), "WEBP", quality=95),
    "lossless webp": encoded(quarters(), "WEBP", lossless=True),
    "gif": encoded(quarters(), "GIF"),
    "bmp": encoded(quarters(), "BMP"),
    "phone's two-in-one jpeg": encoded(quarters(), "MPO", save_all=True, append_images=[noise(64, 48)], quality=95),
}


@pytest.mark.parametrize("name", WHOLE)
def test_decodes_every_format_to_height_width_rgb(name):
    rgb = picture.decode(WHOLE[name])
    assert rgb.shape == (48, 64, 3)
    assert rgb.dtype == np.uint8
    assert close(corners(rgb), [RED, GREEN, BLUE, WHITE])


def test_arrays_can_be_written_to_as_torch_wants():
    assert picture.decode(WHOLE["png"]).flags.writeable
    assert picture.load(WHOLE["png"], 8).flags.writeable


# --- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP"])
def test_palette(format):
    data = encoded(quarters().quantize(4), format)
    assert Image.open(io.BytesIO(data)).mode == "P"
    assert corners(picture.decode(data)) == [RED, GREEN, BLUE, WHITE]


def test_transparent_parts_are_white_not_what_lies_below():
    layer = Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    layer.paste((200, 0, 0, 255), (0, 0, 10, 20))
    layer.paste((0, 0, 0, 128), (0, 0, 10, 10))
    for format in ("PNG", "WEBP"):
        rgb = picture.decode(encoded(layer, format, **({"lossless": True} if format == "WEBP" else {})))
        assert tuple(rgb[15, 15]) == WHITE
        assert tuple(rgb[15, 3]) == (200, 0, 0)
        assert close(rgb[3, 3], (127, 127, 127), 1)


def test_transparent_grey():
    layer = Image.new("LA", (20, 20), (0, 0))
    layer.paste((50, 255), (0, 0, 10, 20))
    rgb = picture.decode(encoded(layer, "PNG"))
    assert tuple(rgb[5, 5]) == (50, 50, 50)
    assert tuple(rgb[5, 15]) == WHITE


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_transparent_palette_colour(format):
    image = quarters().quantize(4)
    blue = image.getpixel((3, 40))
    rgb = picture.decode(encoded(image, format, transparency=blue))
    assert corners(rgb) == [RED, GREEN, WHITE, WHITE]


def test_transparent_colour_of_a_png_without_alpha():
    rgb = picture.decode(encoded(quarters(), "PNG", transparency=BLUE))
    assert corners(rgb) == [RED, GREEN, WHITE, WHITE]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP"])
def test_grey(format):
    rgb = picture.decode(encoded(Image.new("L", (16, 16), 77), format))
    assert rgb.shape == (16, 16, 3)
    assert close(rgb, 77, 1)


def test_one_bit():
    image = Image.new("1", (16, 16), 0)
    image.paste(1, (8, 0, 16, 16))
    rgb = picture.decode(encoded(image, "PNG"))
    assert (tuple(rgb[5, 2]), tuple(rgb[5, 12])) == ((0, 0, 0), WHITE)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    levels = np.linspace(0, 65535, 256).astype(np.uint16)[None, :].repeat(4, axis=0)
    data = encoded(Image.fromarray(levels), "PNG")
    assert Image.open(io.BytesIO(data)).mode == "I;16"
    assert np.array_equal(picture.decode(data)[0, :, 0], levels[0] >> 8)


def test_sixteen_bit_grey_with_a_transparent_level():
    levels = np.full((8, 8), 1000, dtype=np.uint16)
    levels[:, 4:] = 40000
    rgb = picture.decode(encoded(Image.fromarray(levels), "PNG", transparency=1000))
    assert tuple(rgb[4, 1]) == WHITE
    assert tuple(rgb[4, 6]) == (40000 >> 8,) * 3


def test_cmyk_as_adobe_writes_it():
    data = encoded(quarters().convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert close(corners(picture.decode(data)), [RED, GREEN, BLUE, WHITE])


def test_colour_profile_is_ignored():
    with_profile = encoded(quarters(), "PNG", icc_profile=b"not a profile at all")
    assert np.array_equal(picture.decode(with_profile), np.asarray(quarters()))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    options = {"lossless": True} if format == "WEBP" else {}
    later = [Image.new("RGB", (64, 48), GREEN), Image.new("RGB", (64, 48), BLUE)]
    data = encoded(quarters(), format, save_all=True, append_images=later, duration=50, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert corners(picture.decode(data)) == [RED, GREEN, BLUE, WHITE]


# --- which way is up -------------------------------------------------------------------------------------------------


def with_orientation(image: Image.Image, format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, format, exif=exif, **({"quality": 95} if format == "JPEG" else {"lossless": True}))


def test_sideways_photo_stands_upright():
    rgb = picture.decode(with_orientation(quarters(), "JPEG", 6))  # the camera was turned left: turn right
    assert rgb.shape == (64, 48, 3)
    assert close(corners(rgb), [BLUE, RED, WHITE, GREEN])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_as_pillow_turns_it(format, orientation):
    data = with_orientation(quarters(), format, orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(picture.decode(data), upright)
    assert close(picture.load(data, 16), picture.fit(upright, 16))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40])
def test_broken_exif_is_no_reason_to_refuse_a_good_picture(exif):
    assert close(corners(picture.decode(encoded(quarters(), "JPEG", exif=exif, quality=95))), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_none(orientation):
    assert picture.decode(with_orientation(quarters(), "PNG", orientation)).shape == (48, 64, 3)


# --- fit and load ----------------------------------------------------------------------------------------------------


def test_fit_squeezes_and_crops_nothing():
    wide = Image.new("RGB", (400, 100), WHITE)
    wide.paste(RED, (0, 0, 20, 100))
    wide.paste(BLUE, (380, 0, 400, 100))
    wide.paste(GREEN, (100, 0, 300, 10))
    squeezed = picture.fit(np.asarray(wide), 40)
    assert squeezed.shape == (40, 40, 3)
    assert squeezed.dtype == np.uint8
    assert close(squeezed[20, 0], RED)
    assert close(squeezed[20, -1], BLUE)
    assert close(squeezed[1, 20], GREEN)


def test_fit_is_antialiased():
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert close(picture.fit(stripes, 64), 127, 2)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1), (7, 5)])
def test_fit_takes_any_shape(width, height):
    assert close(picture.fit(np.full((height, width, 3), 90, dtype=np.uint8), 32), np.full((32, 32, 3), 90), 0)


def test_load_is_fit_of_decode():
    data = encoded(noise(900, 700), "PNG")
    assert np.array_equal(picture.load(data, 224), picture.fit(picture.decode(data), 224))


def test_load_of_a_large_jpeg_differs_by_a_few_levels_at_most():
    data = encoded(noise(3000, 2000), "JPEG")
    difference = np.abs(picture.load(data, 224).astype(int) - picture.fit(picture.decode(data), 224))
    assert difference.max() <= 8
    assert difference.mean() < 1


def test_load_decodes_a_large_jpeg_at_a_fraction_of_its_size(monkeypatch):
    data, sizes = encoded(noise(3000, 2000), "JPEG"), []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: (sizes.append(self.size), load(self))[1])
    picture.load(data, 224)
    assert max(width for width, _ in sizes) <= 1000


# --- what is refused -------------------------------------------------------------------------------------------------


def test_no_bytes():
    with pytest.raises(PictureError, match=r"empty \(0 bytes\)"):
        picture.decode(b"")


@pytest.mark.parametrize(
    "data", [b"\0", b"hello" * 100, b"<svg/>", b"%PDF-1.7", bytes(range(256)) * 9, b"BMW", b"RIFF"]
)
def test_no_picture(data):
    with pytest.raises(PictureError):
        picture.decode(data)


@pytest.mark.parametrize("format", ["TIFF", "PPM", "ICO", "AVIF", "JPEG2000", "TGA"])
def test_formats_not_taken_are_refused_naming_those_that_are(format):
    with pytest.raises(PictureError, match="JPEG, PNG, WEBP, GIF, BMP"):
        picture.decode(encoded(quarters(), format))


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", [name for name in WHOLE if "phone" not in name])
def test_cut_off_pictures_are_refused_not_half_grey(name, part):
    data = encoded(
        noise(320, 200),
        {"lossless webp": "WEBP"}.get(name, name.removeprefix("progressive ").upper()),
        **{"progressive jpeg": {"progressive": True}, "lossless webp": {"lossless": True}}.get(name, {}),
    )
    cut = data[: int(len(data) * part)]
    for read in (picture.decode, lambda data: picture.load(data, 32)):
        with pytest.raises(PictureError, match=r"cut off or damaged|no picture"):
            read(cut)


def test_random_damage_is_refused_or_read_and_nothing_else():
    rng = np.random.default_rng(1)
    refused = 0
    for data in WHOLE.values():
        for _ in range(25):
            damaged = bytearray(data)
            for position in rng.integers(0, min(len(data), 400), 4):
                damaged[position] = rng.integers(0, 256)
            try:
                assert picture.load(bytes(damaged), 16).shape == (16, 16, 3)
            except PictureError:
                refused += 1
    assert refused > 50


@pytest.mark.parametrize(("width", "height"), [(5001, 10_000), (9500, 9500), (14_000, 14_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_by_the_header(width, height):
    for read in (picture.decode, lambda data: picture.load(data, 32)):
        with pytest.raises(PictureTooLarge, match="50,000,000"):
            read(png(width, height))


def test_fifty_megapixels_are_not_too_many():
    with pytest.raises(PictureError, match="cut off") as caught:  # so it came to the pixels, which are not there
        picture.decode(png(5000, 10_000))
    assert not isinstance(caught.value, PictureTooLarge)


def test_a_jpeg_too_large_is_refused_although_it_could_be_decoded_smaller():
    data = WHOLE["jpeg"]
    at = data.index(b"\xff\xc0") + 5
    with pytest.raises(PictureTooLarge, match="10000 x 6000"):
        picture.load(data[:at] + struct.pack(">HH", 6000, 10_000) + data[at + 4 :], 32)


def test_no_pixels():
    with pytest.raises(PictureError):
        picture.decode(png(0, 5))


def test_compressed_text_bomb():
    bomb = b"Comment\0\0" + zlib.compress(b"\0" * 100_000_000)
    with pytest.raises(PictureError):
        picture.decode(png(8, 8, (b"zTXt", bomb)))


# --- a good neighbour ------------------------------------------------------------------------------------------------


def test_threads_leave_the_warning_filters_as_they_were(monkeypatch):
    before = list(warnings.filters)
    work = [WHOLE["jpeg"], WHOLE["png"], png(9500, 9500), WHOLE["phone's two-in-one jpeg"]] * 10
    image_open, alone = Image.open, threading.Lock()

    def slow_open(*arguments, **options):
        assert alone.acquire(blocking=False), "two threads change the filters at a time"
        time.sleep(0.002)  # long enough for another thread to come in, were it let in
        alone.release()
        return image_open(*arguments, **options)

    def read(data: bytes) -> None:
        with contextlib.suppress(PictureTooLarge):
            picture.load(data, 16)

    monkeypatch.setattr(Image, "open", slow_open)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, work))
    assert warnings.filters == before


def test_import_loads_neither_torch_nor_anything_of_training():
    code = "import sys, ogiri.picture; sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'boto3')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
