"""Whether what is kept of the pictures fits the disk, and how wide feature maps can be there."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from ogiri.task import UserError

DISK_SHARE = 0.8  # of what is free; the rest is for checkpoints, the artifact and the report
WIDTH_STEP = 64  # channels
MIN_CHANNELS = 256
"""At least so wide where nothing else is asked for. MobileNetV2 on 800 pictures of Flickr8k, a small LSTM, one seed:
4.379 nats a token with all 1,280 channels, 4.407 with 512, 4.412 with 256, 4.383 with 128: no order beyond noise. Of
the variance of pictures that they were not fitted to, 512 channels keep 77 %, 256 keep 64 %, 128 keep 50 %."""
OWN_FILES = ("feature_maps*", "pixels*")  # of the folder of checkpoints: they will be used again or replaced
FLOAT16_BYTES = 2


@dataclass(frozen=True)
class Room:
    """Bytes of a disk.

    Attributes:
        free: what can be had, files of an earlier start of the job counted in.
        total: of the whole disk.
    """

    free: int
    total: int

    @property
    def usable(self) -> int:
        """What pictures may take of it."""
        return int(DISK_SHARE * self.free)


@dataclass(frozen=True)
class MapSizes:
    """What decides how large feature maps are.

    Attributes:
        pictures: how many.
        variants: of each beside itself.
        cells: of a map.
        channels: of a map as the encoder has it.
    """

    pictures: int
    variants: int
    cells: int
    channels: int

    def size(self, channels: int) -> int:
        """Bytes of all maps at some width."""
        return self.pictures * (1 + self.variants) * self.cells * channels * FLOAT16_BYTES


def find_room(folder: Path) -> Room:
    """The disk that a folder is on; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = shutil.disk_usage(folder)
    own = sum(path.stat().st_size for pattern in OWN_FILES for path in folder.glob(pattern))
    return Room(disk.free + own, disk.total)


def choose_channels(sizes: MapSizes, asked: int, room: Room) -> int:
    """How wide the maps are to be: as asked, or else as they are, or else as wide as fits.

    Args:
        sizes: of the maps.
        asked: `feature_channels`, 0 = not asked.
        room: on the disk.

    Raises:
        UserError: more is asked than the encoder has, or the disk is too small even for narrow maps.
    """
    if asked > sizes.channels:
        raise UserError(f"feature_channels is {asked}: the encoder's maps have {sizes.channels}")
    least = asked or min(MIN_CHANNELS, sizes.channels)
    if sizes.size(least) > room.usable:
        raise UserError(
            f"feature maps of {_pictures(sizes)} need {gigabytes(sizes.size(least))} at {least} of {sizes.channels} "
            f"channels, and of {gigabytes(room.free)} free on the disk of the checkpoints {gigabytes(room.usable)} may "
            f"be used: {_way_out(sizes.size(least), room)}, or a smaller image_size, or fewer variants"
        )
    if asked:
        return asked
    if sizes.size(sizes.channels) <= room.usable:
        return sizes.channels
    return max(least, room.usable // sizes.size(1) // WIDTH_STEP * WIDTH_STEP)


def check_pixels(pictures: int, size: int, room: Room) -> None:
    """See that the pixels of all pictures fit.

    Raises:
        UserError: they do not.
    """
    needed = pictures * size * size * 3
    if needed > room.usable:
        raise UserError(
            f"{pictures:,} pictures of {size} × {size} pixels need {gigabytes(needed)}, and of {gigabytes(room.free)} "
            f"free on the disk of the checkpoints {gigabytes(room.usable)} may be used: {_way_out(needed, room)}, or a "
            "smaller image_size"
        )


def gigabytes(size: int) -> str:
    """Bytes for a reader."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _pictures(sizes: MapSizes) -> str:
    variants = f" and {sizes.variants} variants of each" if sizes.variants else ""
    return f"{sizes.pictures:,} pictures{variants}"


def _way_out(needed: int, room: Room) -> str:
    volume = math.ceil((needed / DISK_SHARE + room.total - room.free) / 2**30)
    return f"give the job a VolumeSizeInGB of at least {volume}"
