"""Pictures that look alike: one uploaded twice, in another size, format or brightness, with a mark or a thin border.

Each picture has a perceptual hash of 256 bits (ImageHash's `phash`: its 16 × 16 lowest frequencies, each above the
median or not), and pictures whose hashes differ in few bits are of one group. Measured on 7,000 photos of Flickr8k, 24
million pairs: the one pair of equal pictures differs in 0 bits, no other in fewer than 72; with hashes of 64 bits,
different photos come as near (8) as copies do. Of copies of 200 of these photos, within 40 bits were: other sizes,
formats, JPEG qualities down to 20, brightness, contrast, grey, turned by 1°, 1 % cut off each edge: all; 2 % cut off:
90 %; a strip of text below: 96 %; a border of 2 %: 72 %. Mirrored copies, and those that lost 5 % at each edge, count
as other pictures.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

HASH_SIDE = 16
HASH_BYTES = HASH_SIDE * HASH_SIDE // 8
HASH_NAME = f"phash {HASH_SIDE}"  # to be changed with whatever changes the hash of a picture
MAX_DISTANCE = 40  # bits

# Candidates are found in tables, in each of which pictures lie together that agree in some bits. Two that differ in 40
# of 256 bits agree in 16 given ones with a chance of 6.4 %, so in none of 96 tables with one of 0.2 %; two that differ
# in 32, with one of 0.001 %. Of a million unlike pictures, 15 lie together with each one: two minutes in all on a core.
TABLES = 96
TABLE_BITS = 16
PAIRS_AT_ONCE = 1 << 21

# More than this is no picture that came twice but a kind of picture, such as white cards with one line of text.
MAX_GROUP = 100
MAX_GROUP_SHARE = 0.1  # of all pictures
SMALL_GROUP = 10  # so many may always be of one

Hashes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

log = logging.getLogger(__name__)


def picture_hash(rgb: npt.NDArray[np.uint8]) -> bytes:
    """The perceptual hash of a picture (height, width, 3), `HASH_BYTES` long.

    Half of its bits are set, unless the picture is flat or varies in one direction only: then most frequencies are
    zero, all such pictures have nearly the same bits, and the SHA-256 of the pixels stands in, so that they are alike
    only if they are equal.
    """
    bits = imagehash.phash(Image.fromarray(rgb), HASH_SIDE).hash
    if 2 * np.count_nonzero(bits) == bits.size:
        return np.packbits(bits).tobytes()
    return hashlib.sha256(rgb.tobytes()).digest()


def alike(hashes: Hashes, keys: Sequence[str]) -> Indices:
    """Which pictures belong together: those within `MAX_DISTANCE` of each other, and whoever is near one of them.

    A group that is too large to be one picture is taken apart; only equal hashes stay together. The log says so.

    Args:
        hashes: (pictures, `HASH_BYTES`).
        keys: of the pictures, for the log.

    Returns:
        (pictures,) the index of the first picture of each one's group.
    """
    if not len(hashes):
        return np.zeros(0, np.int64)
    _, first, same = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # distinct hashes in the order in which they come
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first = first[order]
    equal: Indices = first[rank[same.reshape(-1)]]
    near: Indices = first[_joined(hashes[first])[rank[same.reshape(-1)]]]
    return _without_crowds(near, equal, keys)


def _joined(hashes: Hashes) -> Indices:
    """(distinct hashes,) the first hash of each one's group."""
    words = np.ascontiguousarray(hashes).view(np.uint64)
    labels = np.arange(len(hashes))
    for bits in _tables():
        for a, b in _pairs(_table_keys(hashes, bits), labels):
            apart = labels[a] != labels[b]
            a, b = a[apart], b[apart]
            distance = np.bitwise_count(words[a] ^ words[b]).sum(axis=1, dtype=np.int64)
            _join(labels, a[distance <= MAX_DISTANCE], b[distance <= MAX_DISTANCE])
    return labels


def _tables() -> list[list[int]]:
    """The bits of each table, drawn so that every machine draws the same; the first bit is set in nearly all hashes."""
    bits = range(1, 8 * HASH_BYTES)
    return [
        sorted(bits, key=lambda bit: hashlib.sha256(f"{table}:{bit}".encode()).digest())[:TABLE_BITS]
        for table in range(TABLES)
    ]


def _table_keys(hashes: Hashes, bits: Sequence[int]) -> npt.NDArray[np.uint16]:
    keys = np.zeros(len(hashes), np.uint16)
    for place, bit in enumerate(bits):
        keys |= (hashes[:, bit // 8] >> (7 - bit % 8) & 1).astype(np.uint16) << place
    return keys


def _pairs(keys: npt.NDArray[np.uint16], labels: Indices) -> Iterator[tuple[Indices, Indices]]:
    """All pairs of equal keys, many at a time, without those of keys whose hashes are all of one group already."""
    order = np.argsort(keys, kind="stable")
    _, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
    members = labels[order]
    settled = np.minimum.reduceat(members, starts) == np.maximum.reduceat(members, starts)
    ends = np.repeat(np.where(settled, starts, starts + counts), counts)
    partners = np.maximum(ends - np.arange(len(order)) - 1, 0)  # each goes with those after it
    total = np.cumsum(partners)
    begin = 0
    while begin < len(order):
        done = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, done + PAIRS_AT_ONCE, "right")))
        some = partners[begin:end]
        left = np.repeat(np.arange(begin, end), some)
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(some) - some, some)
        yield order[left], order[right]
        begin = end


def _join(labels: Indices, a: Indices, b: Indices) -> None:
    """Make one group of the groups of `a` and `b`, pair by pair; a group is called after its first member."""
    while len(a):
        low, high = np.minimum(labels[a], labels[b]), np.maximum(labels[a], labels[b])
        np.minimum.at(labels, high, low)
        while not np.array_equal(labels, labels[labels]):
            labels[:] = labels[labels]
        apart = labels[a] != labels[b]
        a, b = a[apart], b[apart]


def _without_crowds(near: Indices, equal: Indices, keys: Sequence[str]) -> Indices:
    largest = max(SMALL_GROUP, min(MAX_GROUP, int(MAX_GROUP_SHARE * len(near))))
    sizes = np.bincount(near)
    for group in np.flatnonzero(sizes > largest).tolist():
        members = np.flatnonzero(near == group)
        log.warning(
            "%d pictures look alike, more than %d, such as %s: only equal hashes are kept together, in %d groups",
            *(len(members), largest, ", ".join(keys[index] for index in members[:3].tolist())),
            len(np.unique(equal[members])),
        )
    return np.where(sizes[near] > largest, equal, near)
