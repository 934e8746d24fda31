import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ogiri import picture
from ogiri.captioning.data.duplicates import HASH_BYTES, picture_hash
from ogiri.captioning.data.features import ENCODE_BATCH, Interrupted, PictureArrays, feature_maps, pixels
from ogiri.captioning.model.encoder import Encoder
from ogiri.task import UserError

SIZE, COUNT = 32, ENCODE_BATCH + 28  # 60: three broken pictures are 5 %


def never() -> bool:
    return False


class Counted:
    """An encoder that counts the pictures it has seen."""

    def __init__(self, scale: float = 1.0) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        with torch.no_grad():
            network[0].weight *= scale
        self.encoder = Encoder("resnet18", SIZE, network, pretrained=True).eval()
        self.size, self.cells, self.channels = SIZE, self.encoder.cells, self.encoder.channels
        self.pictures = 0

    @torch.no_grad()
    def encode(self, pictures: np.ndarray) -> np.ndarray:
        self.pictures += len(pictures)
        return self.encoder(torch.from_numpy(pictures)).numpy()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of different sizes and forms."""
    rng = np.random.default_rng(0)
    (tmp_path / "training").mkdir()
    for n, key in enumerate(KEYS):
        shape = (20 + n, 60 - n // 2, 3)
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / "training" / key)
    return tmp_path / "training"


KEYS = [f"{n:02}.{'png' if n % 2 else 'jpg'}" for n in range(COUNT)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "maps"


def expected_map(folder: Path, key: str, encoder: Encoder) -> np.ndarray:
    rgb = picture.load((folder / key).read_bytes(), SIZE)
    with torch.no_grad():
        return encoder(torch.from_numpy(rgb)[None])[0].numpy()


def make(folder: Path, out: Path, counted: Counted, fingerprint: str = "one", **others) -> PictureArrays:
    stopping: Callable[[], bool] = others.get("stopping", never)
    keys, vary = others.get("keys", KEYS), others.get("vary")
    return feature_maps(folder, keys, counted, out, fingerprint, stopping, vary)


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_maps_are_the_encoders_in_the_order_of_the_keys(folder: Path, out: Path, counted: Counted):
    made = make(folder, out, counted)
    assert made.arrays.shape == (COUNT, 16, 4)
    assert made.arrays.dtype == np.float16
    assert (made.usable, made.broken) == (list(range(COUNT)), [])
    assert counted.pictures == COUNT
    for row in (0, 1, ENCODE_BATCH - 1, ENCODE_BATCH, COUNT - 1):
        np.testing.assert_allclose(
            made.arrays[row], expected_map(folder, KEYS[row], counted.encoder), rtol=2e-3, atol=1e-4
        )


def test_pictures_may_be_varied_before_they_are_encoded(folder: Path, out: Path, counted: Counted):
    made = make(folder, out, counted, vary=lambda pictures: 255 - pictures)
    rgb = picture.load((folder / KEYS[3]).read_bytes(), SIZE)
    with torch.no_grad():
        expected = counted.encoder(torch.from_numpy(255 - rgb[None]))[0].numpy()
    np.testing.assert_allclose(made.arrays[3], expected, rtol=1e-2, atol=1e-2)


def test_arrays_lie_on_disk_and_are_not_for_writing(folder: Path, out: Path, counted: Counted):
    made = make(folder, out, counted)
    assert isinstance(made.arrays, np.memmap)
    assert out.stat().st_size == COUNT * 16 * 4 * 2
    with pytest.raises(ValueError, match="read-only"):
        made.arrays[0] = 0


def test_large_values_stay_finite_in_half_precision(folder: Path, out: Path):
    made = make(folder, out, Counted(scale=1e7))
    assert np.isfinite(made.arrays).all()
    assert made.arrays.max() == -made.arrays.min() == np.finfo(np.float16).max


def test_pixels_are_those_of_the_picture(folder: Path, out: Path):
    made = pixels(folder, KEYS, SIZE, out, never)
    assert made.arrays.shape == (COUNT, SIZE, SIZE, 3)
    for row in (0, ENCODE_BATCH, COUNT - 1):
        np.testing.assert_array_equal(made.arrays[row], picture.load((folder / KEYS[row]).read_bytes(), SIZE))


def test_hashes_are_those_of_the_pictures(folder: Path, out: Path, counted: Counted):
    (folder / "03.png").write_bytes(b"")
    for made in (make(folder, out, counted), pixels(folder, KEYS, SIZE, out.with_name("pixels"), never)):
        assert made.hashes.shape == (COUNT, HASH_BYTES)
        for row in (0, ENCODE_BATCH, COUNT - 1):
            expected = picture_hash(picture.load((folder / KEYS[row]).read_bytes(), SIZE))
            assert made.hashes[row].tobytes() == expected
        assert not made.hashes[3].any()


# --- pictures that cannot be used ------------------------------------------------------------------------------------


def break_three(folder: Path) -> None:
    (folder / "03.png").write_bytes(b"<html>404</html>")
    (folder / "10.jpg").unlink()
    (folder / "58.jpg").write_bytes((folder / "58.jpg").read_bytes()[:300])


def test_broken_pictures_are_left_out_and_listed(
    folder: Path, out: Path, counted: Counted, caplog: pytest.LogCaptureFixture
):
    break_three(folder)
    made = make(folder, out, counted)
    assert [broken.key for broken in made.broken] == ["03.png", "10.jpg", "58.jpg"]
    assert made.usable == [row for row in range(COUNT) if row not in (3, 10, 58)]
    assert not made.arrays[[3, 10, 58]].any()
    np.testing.assert_allclose(made.arrays[59], expected_map(folder, "59.png", counted.encoder), rtol=2e-3, atol=1e-4)
    assert [record.getMessage().split(": ")[0] for record in caplog.records if record.levelname == "WARNING"] == [
        f"picture {key} is left out" for key in ("03.png", "10.jpg", "58.jpg")
    ]
    assert "picture 10.jpg is left out: no such file in the training channel" in caplog.messages


def test_more_than_a_twentieth_fails_and_names_the_first(folder: Path, out: Path, counted: Counted):
    break_three(folder)
    (folder / "59.png").unlink()
    message = r"4 of 60 pictures cannot be used, more than 5%: first 03\.png: .+\. Check the `training` channel"
    with pytest.raises(UserError, match=message):
        make(folder, out, counted)


def test_pictures_that_were_mended_are_read_again(folder: Path, out: Path, counted: Counted):
    missing = folder / "later"
    missing.mkdir()
    for key in KEYS[:4]:
        (folder / key).rename(missing / key)
    with pytest.raises(UserError):
        make(folder, out, counted)
    for key in KEYS[:4]:
        (missing / key).rename(folder / key)
    assert make(folder, out, counted).broken == []


def test_of_many_broken_pictures_some_are_listed(
    folder: Path, out: Path, counted: Counted, caplog: pytest.LogCaptureFixture
):
    with pytest.raises(UserError, match="60 of 60"):
        make(folder / "none", out, counted)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 21
    assert warnings[-1] == "and 40 more pictures are left out"


def test_a_folder_is_no_picture(folder: Path, out: Path, counted: Counted):
    (folder / "00.jpg").unlink()
    (folder / "00.jpg").mkdir()
    assert [broken.key for broken in make(folder, out, counted).broken] == ["00.jpg"]


# --- once for all ----------------------------------------------------------------------------------------------------


def test_what_is_finished_is_used_again(folder: Path, out: Path, counted: Counted, caplog: pytest.LogCaptureFixture):
    break_three(folder)
    first = make(folder, out, counted)
    caplog.clear()
    caplog.set_level(logging.INFO)
    seen = counted.pictures
    again = make(folder / "none", out, counted)
    assert counted.pictures == seen
    np.testing.assert_array_equal(again.arrays, first.arrays)
    np.testing.assert_array_equal(again.hashes, first.hashes)
    assert (again.usable, again.broken) == (first.usable, first.broken)
    assert "60 pictures is there already" in caplog.text
    assert "picture 03.png is left out" in caplog.text


@pytest.mark.parametrize("other", ["fingerprint", "keys", "size of the file", "description", "hashes"])
def test_what_belongs_to_something_else_is_made_anew(folder: Path, out: Path, counted: Counted, other: str):
    make(folder, out, counted)
    seen, keys, fingerprint = counted.pictures, KEYS, "one"
    if other == "fingerprint":
        fingerprint = "other"
    elif other == "keys":
        keys = KEYS[::-1]
    elif other == "size of the file":
        out.write_bytes(out.read_bytes()[:-2])
    else:
        description = next(path for path in out.parent.iterdir() if path != out)
        there = json.loads(description.read_text())
        assert there.pop("hash")
        description.write_text(json.dumps(there) if other == "hashes" else "{")
    made = make(folder, out, counted, fingerprint, keys=keys)
    assert counted.pictures == seen + COUNT
    np.testing.assert_allclose(made.arrays[0], expected_map(folder, keys[0], counted.encoder), rtol=2e-3, atol=1e-4)


def after(pictures: int) -> Callable[[], bool]:
    """True once it was asked as often."""
    left = iter(range(pictures))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("pictures", [0, ENCODE_BATCH + 5, COUNT - 1])
def test_an_interrupted_job_begins_again(folder: Path, out: Path, counted: Counted, pictures: int):
    with pytest.raises(Interrupted):
        make(folder, out, counted, stopping=after(pictures))
    np.testing.assert_array_equal(make(folder, out, counted).arrays, make(folder, out, counted).arrays)
    assert counted.pictures <= 2 * COUNT
    made = make(folder, out, counted)
    for row in (0, COUNT - 1):
        np.testing.assert_allclose(
            made.arrays[row], expected_map(folder, KEYS[row], counted.encoder), rtol=2e-3, atol=1e-4
        )


def test_an_interrupted_job_of_another_encoder_leaves_nothing_that_looks_finished(
    folder: Path, out: Path, counted: Counted
):
    first = np.array(make(folder, out, counted).arrays)
    with pytest.raises(Interrupted):
        make(folder, out, Counted(scale=2.0), "other", stopping=after(ENCODE_BATCH + 5))
    np.testing.assert_array_equal(make(folder, out, counted).arrays, first)


def test_the_place_on_disk_is_taken_before_the_first_picture_is_read(folder: Path, out: Path):
    with pytest.raises(Interrupted):
        pixels(folder, KEYS, 256, out, after(0))
    assert out.stat().st_blocks * 512 >= COUNT * 256 * 256 * 3


def test_nothing_of_it_is_copied_to_s3(folder: Path, out: Path, counted: Counted):
    out = out.with_name("maps.sagemaker-ignore")
    make(folder, out, counted)
    assert all(path.name.endswith(".sagemaker-ignore") for path in out.parent.iterdir())
