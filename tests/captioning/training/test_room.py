from pathlib import Path

import pytest

from ogiri.captioning.training.room import (
    DISK_SHARE,
    MIN_CHANNELS,
    MapSizes,
    Room,
    check_pixels,
    choose_channels,
    find_room,
)
from ogiri.task import UserError

GB = 10**9
MILLION = MapSizes(pictures=1_000_000, variants=0, cells=100, channels=1280)  # 256 GB


def disk(usable: float) -> Room:
    return Room(free=int(usable / DISK_SHARE) + 1, total=2 * int(usable / DISK_SHARE))


def test_sizes_are_those_of_all_maps():
    assert MILLION.size(1280) == 256 * GB
    assert MapSizes(1_000_000, 2, 100, 1280).size(1280) == 768 * GB


def test_maps_that_fit_stay_as_they_are():
    assert choose_channels(MILLION, 0, disk(256 * GB)) == 1280


@pytest.mark.parametrize(("usable", "channels"), [(255, 1216), (128, 640), (100, 448), (60, 256)])
def test_maps_that_do_not_fit_are_as_wide_as_fits(usable: int, channels: int):
    assert choose_channels(MILLION, 0, disk(usable * GB)) == channels
    assert MILLION.size(channels) <= usable * GB


@pytest.mark.parametrize("asked", [1, 100, 1280])
def test_a_width_that_is_asked_for_is_taken(asked: int):
    assert choose_channels(MILLION, asked, disk(300 * GB)) == asked


def test_no_more_can_be_asked_than_there_is():
    with pytest.raises(UserError, match="feature_channels is 1281: the encoder's maps have 1280"):
        choose_channels(MILLION, 1281, disk(1000 * GB))


def test_a_disk_that_is_too_small_is_told_what_is_needed():
    room = Room(free=50 * GB, total=60 * GB)
    with pytest.raises(UserError) as error:
        choose_channels(MILLION, 0, room)
    assert str(error.value) == (
        "feature maps of 1,000,000 pictures need 51.2 GB at 256 of 1280 channels, and of 50.0 GB free on the disk of "
        "the checkpoints 40.0 GB may be used: give the job a VolumeSizeInGB of at least 69, or a smaller image_size, "
        "or fewer variants"
    )


def test_the_disk_that_was_asked_for_is_large_enough():
    used = 10 * GB
    volume = 69 * 2**30
    assert choose_channels(MILLION, 0, Room(volume - used, volume)) == MIN_CHANNELS


def test_a_width_that_is_asked_for_must_fit_too():
    with pytest.raises(UserError, match=r"need 256\.0 GB at 1280 of 1280 channels"):
        choose_channels(MILLION, 1280, disk(255 * GB))


def test_maps_that_are_narrow_already_are_not_made_wider():
    narrow = MapSizes(1000, 0, 1, 64)
    assert choose_channels(narrow, 0, disk(128_000)) == 64
    with pytest.raises(UserError, match=r"1,000 pictures need 0\.1 MB at 64 of 64 channels"):
        choose_channels(narrow, 0, disk(127_000))


def test_pixels_must_fit_too():
    check_pixels(1000, 100, disk(30_000_000))
    with pytest.raises(
        UserError, match=r"1,000 pictures of 100 × 100 pixels need 30\.0 MB, and of .+ VolumeSizeInGB of"
    ):
        check_pixels(1000, 100, disk(29_000_000))


def test_what_an_earlier_start_has_written_counts_as_free(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    before = find_room(folder)
    (folder / "feature_maps.00000.sagemaker-ignore").write_bytes(b"x" * (1 << 26))
    (folder / "pixels.00000.sagemaker-ignore").write_bytes(b"x" * (1 << 26))
    (folder / "training.pt").write_bytes(b"x" * (1 << 26))
    after = find_room(folder)
    assert abs((before.free - after.free) - (1 << 26)) < 1 << 25
    assert before.total == after.total > before.free
