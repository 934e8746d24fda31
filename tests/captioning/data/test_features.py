import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ogiri import picture
from ogiri.captioning.data import features, shards
from ogiri.captioning.data.blocks import Interrupted
from ogiri.captioning.data.duplicates import HASH_BYTES, picture_hash
from ogiri.captioning.data.features import PictureArrays, Share, feature_maps, pixels
from ogiri.captioning.data.shards import BLOCK_ROWS
from ogiri.captioning.model.encoder import Encoder
from ogiri.task import UserError

SIZE, COUNT = 32, BLOCK_ROWS + 28  # 60: three broken pictures are 5 %


def never() -> bool:
    return False


class Counted:
    """An encoder that counts the pictures it has seen."""

    batch = 4

    def __init__(self, scale: float = 1.0) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        with torch.no_grad():
            network[0].weight *= scale
        self.encoder = Encoder("resnet18", SIZE, network, pretrained=True).eval()
        self.size, self.cells, self.channels = SIZE, self.encoder.cells, self.encoder.channels
        self.pictures, self._lock = 0, threading.Lock()

    @torch.no_grad()
    def encode(self, pictures: np.ndarray) -> np.ndarray:
        with self._lock:
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
    keys, vary, share = others.get("keys", KEYS), others.get("vary"), others.get("share")
    return feature_maps(folder, keys, counted, out, fingerprint, stopping, vary, share)


@pytest.fixture
def two_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block a shard: 32 pictures and 28."""
    monkeypatch.setattr(shards, "MAX_SHARD_ROWS", BLOCK_ROWS)


def shard(out: Path, number: int) -> Path:
    return out.with_name(f"{out.name}.{number:05}.sagemaker-ignore")


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_maps_are_the_encoders_in_the_order_of_the_keys(folder: Path, out: Path, counted: Counted):
    made = make(folder, out, counted)
    assert made.arrays.shape == (COUNT, 16, 4)
    assert made.arrays.dtype == np.float16
    assert (made.usable.tolist(), made.broken) == (list(range(COUNT)), [])
    assert counted.pictures == COUNT
    for row in (0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, COUNT - 1):
        np.testing.assert_allclose(
            made.arrays[row], expected_map(folder, KEYS[row], counted.encoder), rtol=2e-3, atol=1e-4
        )


def test_pictures_may_be_varied_before_they_are_encoded(folder: Path, out: Path, counted: Counted):
    made = make(folder, out, counted, vary=lambda pictures, _first: 255 - pictures)
    rgb = picture.load((folder / KEYS[3]).read_bytes(), SIZE)
    with torch.no_grad():
        expected = counted.encoder(torch.from_numpy(255 - rgb[None]))[0].numpy()
    np.testing.assert_allclose(made.arrays[3], expected, rtol=1e-2, atol=1e-2)


def test_large_values_stay_finite_in_half_precision(folder: Path, out: Path):
    maps = make(folder, out, Counted(scale=1e7)).arrays[:]
    assert np.isfinite(maps).all()
    assert maps.max() == -maps.min() == np.finfo(np.float16).max


def test_pixels_are_those_of_the_picture(folder: Path, out: Path):
    made = pixels(folder, KEYS, SIZE, out, never)
    assert made.arrays.shape == (COUNT, SIZE, SIZE, 3)
    for row in (0, BLOCK_ROWS, COUNT - 1):
        np.testing.assert_array_equal(made.arrays[row], picture.load((folder / KEYS[row]).read_bytes(), SIZE))


def test_hashes_are_those_of_the_pictures(folder: Path, out: Path, counted: Counted):
    (folder / "03.png").write_bytes(b"")
    for made in (make(folder, out, counted), pixels(folder, KEYS, SIZE, out.with_name("pixels"), never)):
        assert made.hashes.shape == (COUNT, HASH_BYTES)
        for row in (0, BLOCK_ROWS, COUNT - 1):
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
    assert made.usable.tolist() == [row for row in range(COUNT) if row not in (3, 10, 58)]
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
    np.testing.assert_array_equal(again.arrays[:], first.arrays[:])
    np.testing.assert_array_equal(again.hashes, first.hashes)
    assert (again.usable.tolist(), again.broken) == (first.usable.tolist(), first.broken)
    assert "60 pictures is there already" in caplog.text
    assert "picture 03.png is left out" in caplog.text


@pytest.mark.usefixtures("two_shards")
@pytest.mark.parametrize(
    ("other", "again"), [("fingerprint", COUNT), ("first key", BLOCK_ROWS), ("last key", COUNT - BLOCK_ROWS)]
)
def test_of_another_job_only_what_is_the_same_is_used_again(
    folder: Path, out: Path, counted: Counted, other: str, again: int
):
    make(folder, out, counted)
    seen, keys = counted.pictures, KEYS.copy()
    if other != "fingerprint":
        keys[{"first key": 0, "last key": -1}[other]] = KEYS[7]
    made = make(folder, out, counted, "other" if other == "fingerprint" else "one", keys=keys)
    assert counted.pictures == seen + again
    for row in (0, COUNT - 1):
        expected = expected_map(folder, keys[row], counted.encoder)
        np.testing.assert_allclose(made.arrays[row], expected, rtol=2e-3, atol=1e-4)


@pytest.mark.usefixtures("two_shards")
def test_fewer_pictures_leave_no_shard_behind(folder: Path, out: Path, counted: Counted):
    make(folder, out, counted)
    beside = out.with_name(f"{out.name}.1.00007.sagemaker-ignore")  # of a variant
    beside.touch()
    made = make(folder, out, counted, keys=KEYS[:BLOCK_ROWS])
    assert len(made.arrays) == BLOCK_ROWS
    assert counted.pictures == COUNT
    assert set(out.parent.iterdir()) == {shard(out, 0), beside}


# --- a job that ends early -------------------------------------------------------------------------------------------


def once_there(path: Path) -> Callable[[], bool]:
    return path.exists


@pytest.mark.usefixtures("two_shards")
def test_an_interrupted_job_keeps_the_shards_it_has(folder: Path, out: Path, counted: Counted):
    with pytest.raises(Interrupted):
        make(folder, out, counted, stopping=once_there(shard(out, 0)))
    assert list(out.parent.iterdir()) == [shard(out, 0)]
    second = Counted()
    made = make(folder, out, second)
    assert second.pictures == COUNT - BLOCK_ROWS
    for row in (0, COUNT - 1):
        expected = expected_map(folder, KEYS[row], counted.encoder)
        np.testing.assert_allclose(made.arrays[row], expected, rtol=2e-3, atol=1e-4)


def shifted(pictures: np.ndarray, first: int) -> np.ndarray:
    """Varied at random, as `first` alone decides."""
    return np.random.default_rng(first).permutation(pictures.reshape(-1)).reshape(pictures.shape)


@pytest.mark.usefixtures("two_shards")
def test_what_is_random_is_the_same_wherever_a_job_was_interrupted(folder: Path, out: Path, counted: Counted):
    whole = make(folder, out.with_name("whole"), counted, vary=shifted)
    with pytest.raises(Interrupted):
        make(folder, out, counted, vary=shifted, stopping=once_there(shard(out, 0)))
    np.testing.assert_array_equal(make(folder, out, counted, vary=shifted).arrays[:], whole.arrays[:])
    assert shard(out, 1).read_bytes() == shard(out.with_name("whole"), 1).read_bytes()


class Slow(Counted):
    """Takes as long for a picture as a large network."""

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        time.sleep(0.1 * len(pictures))
        return super().encode(pictures)


def test_a_job_that_is_asked_to_end_does_not_finish_what_it_has_begun(folder: Path, out: Path):
    slow = Slow()
    with pytest.raises(Interrupted):
        make(folder, out, slow, stopping=lambda: slow.pictures > 0)
    assert 0 < slow.pictures <= 2 * slow.batch * len(os.sched_getaffinity(0)) < COUNT / 2


def test_an_interrupted_job_of_another_encoder_leaves_what_was_there(folder: Path, out: Path, counted: Counted):
    first = make(folder, out, counted).arrays[:]
    seen = counted.pictures
    with pytest.raises(Interrupted):
        make(folder, out, Counted(scale=2.0), "other", stopping=lambda: True)
    np.testing.assert_array_equal(make(folder, out, counted).arrays[:], first)
    assert counted.pictures == seen


def test_the_place_on_disk_is_taken_before_the_first_picture_is_read(folder: Path, out: Path):
    taken = []

    def stopping() -> bool:
        taken.extend(path.stat().st_blocks * 512 for path in out.parent.iterdir())
        return True

    with pytest.raises(Interrupted):
        pixels(folder, KEYS, 256, out, stopping)
    assert taken[0] >= COUNT * 256 * 256 * 3


def test_nothing_of_it_is_copied_to_s3(folder: Path, out: Path, counted: Counted):
    seen = set()

    def stopping() -> bool:
        seen.update(out.parent.iterdir())
        return False

    make(folder, out, counted, stopping=stopping)
    seen.update(out.parent.iterdir())
    assert len(seen) == 2
    assert all(path.name.endswith(".sagemaker-ignore") for path in seen)


# --- several processes with one folder -------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_shards")
def test_processes_share_the_work_and_see_all_of_it(folder: Path, out: Path, counted: Counted):
    break_three(folder)
    expected = make(folder, out.with_name("alone"), counted)
    both, made = [Counted(), Counted()], {}

    def run(rank: int) -> None:
        made[rank] = make(folder, out, both[rank], share=Share(rank, 2))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.pictures for one in both] == [BLOCK_ROWS - 2, COUNT - BLOCK_ROWS - 1]
    for rank in (0, 1):
        np.testing.assert_array_equal(made[rank].arrays[:], expected.arrays[:])
        np.testing.assert_array_equal(made[rank].hashes, expected.hashes)
        assert made[rank].broken == expected.broken


@pytest.mark.usefixtures("two_shards")
def test_who_waits_for_another_process_can_be_asked_to_end(folder: Path, out: Path, counted: Counted):
    with pytest.raises(Interrupted):
        make(folder, out, counted, share=Share(1, 2), stopping=once_there(shard(out, 1)))
    assert counted.pictures == COUNT - BLOCK_ROWS
    assert list(out.parent.iterdir()) == [shard(out, 1)]


@pytest.mark.usefixtures("two_shards")
def test_a_process_that_has_stopped_is_not_awaited_for_ever(
    folder: Path, out: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(features, "STALLED_SECONDS", 0.1)
    with pytest.raises(TimeoutError, match="shard 0 of 2 of maps is missing, and the other 1 processes have written"):
        make(folder, out, counted, share=Share(1, 2))


@pytest.mark.usefixtures("two_shards")
def test_a_process_whose_clock_goes_backwards_is_awaited(
    folder: Path, out: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch
):
    make(folder, out, counted)
    first = shard(out, 0).rename(out.parent / "kept")
    part = out.parent / f"{out.name}.00000.part"
    monkeypatch.setattr(features, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(features, "POLL_SECONDS", 0.02)

    def write_slowly() -> None:
        for hours in range(20):
            part.write_bytes(b"x" * hours)
            os.utime(part, (1e9 - 3600 * hours,) * 2)
            time.sleep(0.05)
        first.rename(shard(out, 0))

    thread = threading.Thread(target=write_slowly)
    thread.start()
    make(folder, out, counted, share=Share(1, 2))
    thread.join()
    assert counted.pictures == COUNT
