"""Which pictures are held out: a hash of seed and picture group, the same on every machine and stable as data grows.

A group of pictures that look alike is called after the first of its keys, so a picture that looks like no other stays
where it is whatever comes. A new picture goes where its group is; only if its own key comes first, or if it joins two
groups, may the older pictures of the group change sides with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_SCALE = float(1 << 64)


def is_validation(picture_group: str, seed: int, fraction: float) -> bool:
    """Whether all lines of this group of pictures are held out."""
    digest = hashlib.sha256(f"{seed}:{picture_group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _SCALE < fraction


def split(picture_groups: Sequence[str], seed: int, fraction: float) -> tuple[list[int], list[int]]:
    """Indices of the pictures to train on, and of those held out."""
    held_out = [is_validation(group, seed, fraction) for group in picture_groups]
    return (
        [index for index, held in enumerate(held_out) if not held],
        [index for index, held in enumerate(held_out) if held],
    )
