"""Pictures → arrays on disk, each picture read once: feature maps of a frozen encoder, or pixels for one in training.

The arrays lie in shards and are read row by row, so that many pictures need no more memory than few. Perceptual hashes
are made on the way.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ogiri.captioning.data.blocks import BlockMaker, Interrupted, Pixels
from ogiri.captioning.data.duplicates import Hashes
from ogiri.captioning.data.sharded_array import Rows
from ogiri.captioning.data.shards import Described, Shards
from ogiri.machine import available_processors
from ogiri.task import UserError

MAX_BROKEN_SHARE = 0.05
LISTED_BROKEN = 20
FLOAT16_MAX = float(np.finfo(np.float16).max)
POLL_SECONDS = 1.0
TOLD_SECONDS = 60.0  # between lines of the log
STALLED_SECONDS = 600.0  # in which the other processes have written nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Broken:
    """A picture that cannot be used, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class PictureArrays:
    """What training sees of the pictures.

    Attributes:
        arrays: (pictures, cells, channels) float16 maps or (pictures, size, size, 3) uint8 pixels; rows of broken
            pictures hold zeros.
        usable: (usable,) rows of the pictures that are not broken, in order.
        broken: the others.
        hashes: (pictures, `HASH_BYTES`) perceptual hashes, zeros for broken pictures; None where nobody looked: then no
            picture counts as another's near duplicate.
        variants: the same as `arrays`, of the pictures varied a little.
    """

    arrays: Rows
    usable: npt.NDArray[np.int64]
    broken: Sequence[Broken]
    hashes: Hashes | None = None
    variants: tuple[Rows, ...] = ()


class FrozenEncoder(Protocol):
    """Pictures of `size` pixels a side → maps of `cells` × `channels`; several threads may use it.

    Attributes:
        batch: pictures that are best encoded at once.
    """

    size: int
    cells: int
    channels: int
    batch: int

    def encode(self, pictures: Pixels) -> npt.NDArray[np.floating[Any]]:
        """(batch, size, size, 3) uint8 RGB → (batch, cells, channels)."""


@dataclass(frozen=True)
class Share:
    """The part of the pictures that one of several processes with the same folder of checkpoints takes.

    Attributes:
        rank: of this process, from 0; it makes the shards `rank`, `rank + ranks`, ….
        ranks: how many there are, on this host: hosts share no disk, and each makes all that it needs.
    """

    rank: int = 0
    ranks: int = 1


def feature_maps(
    folder: Path,
    keys: Sequence[str],
    encoder: FrozenEncoder,
    out: Path,
    fingerprint: str,
    stopping: Callable[[], bool],
    vary: Callable[[Pixels, int], Pixels] | None = None,
    share: Share | None = None,
) -> PictureArrays:
    """Run a frozen encoder over every picture once; what lies there whole and of the same fingerprint is used again.

    Args:
        folder: where the pictures lie, `keys` below it.
        keys: file names.
        encoder: what makes maps of pictures.
        out: folder and first part of the names of the files for the maps.
        fingerprint: of the encoder's name and weights.
        stopping: true once the job is asked to end.
        vary: changes (n, size, size, 3) uint8 pictures before they are encoded; the number of the first of them is
            all that what is random may depend on, so that a job that was interrupted makes the same.
        share: what this process takes of it, else all; it waits for what the others take.

    Raises:
        UserError: more than 5 % of the pictures cannot be used.
        Interrupted: `stopping` turned true.
        OSError: the disk is full.
        TimeoutError: the other processes have stopped.
    """

    def encode(pixels: Pixels, first: int, go_on: Callable[[], None]) -> npt.NDArray[np.float16]:
        varied = pixels if vary is None else vary(pixels, first)
        parts = []
        for start in range(0, len(varied), encoder.batch):
            go_on()
            parts.append(_half(encoder.encode(varied[start : start + encoder.batch])))
        return np.concatenate(parts)

    shards = Shards(out, keys, (encoder.cells, encoder.channels), np.dtype(np.float16), fingerprint)
    share = share or Share()
    return _Making(shards, _maker(folder, shards, encoder.size, encode, stopping, share), share).run()


def pixels(
    folder: Path,
    keys: Sequence[str],
    size: int,
    out: Path,
    stopping: Callable[[], bool],
    share: Share | None = None,
) -> PictureArrays:
    """The pictures themselves, for an encoder that is trained; else as `feature_maps`."""
    shards = Shards(out, keys, (size, size, 3), np.dtype(np.uint8), f"pixels {size}")
    share = share or Share()
    return _Making(shards, _maker(folder, shards, size, lambda rgb, *_: rgb, stopping, share), share).run()


def _maker(
    folder: Path,
    shards: Shards,
    size: int,
    transform: Callable[[Pixels, int, Callable[[], None]], npt.NDArray[Any]],
    stopping: Callable[[], bool],
    share: Share,
) -> BlockMaker:
    threads = max(1, available_processors() // share.ranks)
    return BlockMaker(folder, shards.keys, size, shards.row_shape, shards.dtype, transform, stopping, threads)


def _half(maps: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float16]:
    inside = maps if maps.dtype == np.float16 else np.clip(maps, -FLOAT16_MAX, FLOAT16_MAX)
    half: npt.NDArray[np.float16] = inside.astype(np.float16, copy=False)
    return half


@dataclass(frozen=True)
class _Making:
    """The shards of one array, made by this process and by others."""

    shards: Shards
    maker: BlockMaker
    share: Share

    def run(self) -> PictureArrays:
        """Make what is missing of our share, wait for the others', put together what all of it says."""
        if self.share.rank == 0:
            self.shards.tidy()
        found = {n: described for n in range(len(self.shards)) if (described := self.shards.read(n))}
        self._tell_found(found)
        own = range(self.share.rank, len(self.shards), self.share.ranks)
        self._make([number for number in own if number not in found], found)
        self._wait(found)
        if self.maker.stopping():  # whoever asked for the end will not mend pictures first
            raise Interrupted
        arrays = self._arrays([found[number] for number in range(len(self.shards))])
        try:
            _report(arrays.broken, len(self.shards.keys))
        except UserError:
            for number in own:
                if found[number].broken:
                    self.shards.remove(number)  # they will be read again, once somebody has mended them
            raise
        return arrays

    def _tell_found(self, found: dict[int, Described]) -> None:
        if len(found) == len(self.shards):
            log.info("what is needed of %d pictures is there already", len(self.shards.keys))
        elif found:
            log.info("%d of %d shards of pictures are there already", len(found), len(self.shards))

    def _make(self, missing: list[int], found: dict[int, Described]) -> None:
        total = sum(len(self.shards.rows(number)) for number in missing)
        done, began, told = 0, time.monotonic(), time.monotonic()
        bar = tqdm(total=total, desc="pictures", unit="picture", disable=not sys.stderr.isatty(), leave=False)
        wanted = (rows for number in missing for rows in self.shards.blocks(number))
        with bar, closing(self.maker.blocks(wanted)) as blocks:
            for number in missing:
                found[number] = self.shards.write(number, islice(blocks, len(self.shards.blocks(number))))
                done += len(self.shards.rows(number))
                bar.update(len(self.shards.rows(number)))
                now = time.monotonic()
                if now - told > TOLD_SECONDS:
                    told = now
                    log.info("%d of %d pictures, %.0f a second", done, total, done / (now - began))

    def _wait(self, found: dict[int, Described]) -> None:
        seen, heard = self._written(), time.monotonic()
        while True:
            missing = [number for number in range(len(self.shards)) if number not in found]
            found |= {number: described for number in missing if (described := self.shards.read(number))}
            if len(found) == len(self.shards):
                return
            if self.maker.stopping():
                raise Interrupted
            if (written := self._written()) != seen:
                seen, heard = written, time.monotonic()
            elif time.monotonic() - heard > STALLED_SECONDS:
                raise TimeoutError(
                    f"shard {missing[0]} of {len(self.shards)} of {self.shards.out.name} is missing, and the other "
                    f"{self.share.ranks - 1} processes have written nothing for {STALLED_SECONDS:.0f} seconds"
                )
            time.sleep(POLL_SECONDS)

    def _written(self) -> set[tuple[str, int, int]]:
        """Name, size and time of all files, whole or not: that they differ is no matter of a clock, which may jump."""
        found = set()
        for path in self.shards.out.parent.glob(f"{self.shards.out.name}.*"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # got its name just now
                continue
            found.add((path.name, stat.st_size, stat.st_mtime_ns))
        return found

    def _arrays(self, described: list[Described]) -> PictureArrays:
        keys = self.shards.keys
        broken = [(row, reason) for one in described for row, reason in one.broken]
        usable = np.ones(len(keys), bool)
        usable[[row for row, _ in broken]] = False
        return PictureArrays(
            self.shards.array(),
            np.flatnonzero(usable),
            [Broken(keys[row], reason) for row, reason in broken],
            np.concatenate([one.hashes for one in described]),
        )


def _report(broken: Sequence[Broken], total: int) -> None:
    for one in broken[:LISTED_BROKEN]:
        log.warning("picture %s is left out: %s", one.key, one.reason)
    if len(broken) > LISTED_BROKEN:
        log.warning("and %d more pictures are left out", len(broken) - LISTED_BROKEN)
    if len(broken) > MAX_BROKEN_SHARE * total:
        raise UserError(
            f"{len(broken)} of {total} pictures cannot be used, more than {MAX_BROKEN_SHARE:.0%}: "
            f"first {broken[0].key}: {broken[0].reason}. Check the `training` channel"
        )
