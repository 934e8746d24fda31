"""Pictures → arrays on disk, each picture read once: feature maps of a frozen encoder, or pixels for one in training.

The arrays are memory-mapped, so that many pictures need no more memory than few. Perceptual hashes are made on the way.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ogiri import picture
from ogiri.captioning.data.duplicates import HASH_BYTES, HASH_NAME, Hashes, picture_hash
from ogiri.task import UserError

MAX_BROKEN_SHARE = 0.05
LISTED_BROKEN = 20
ENCODE_BATCH = 32
READ_AHEAD = 4 * ENCODE_BATCH
FLOAT16_MAX = float(np.finfo(np.float16).max)

Pixels = npt.NDArray[np.uint8]

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
        usable: indices of the pictures that are not broken, in order.
        broken: the others.
        hashes: (pictures, `HASH_BYTES`) perceptual hashes, zeros for broken pictures; None where nobody looked: then no
            picture counts as another's near duplicate.
        variants: the same as `arrays`, of the pictures varied a little.
    """

    arrays: npt.NDArray[np.generic]
    usable: list[int]
    broken: list[Broken]
    hashes: Hashes | None = None
    variants: tuple[npt.NDArray[np.generic], ...] = ()


@dataclass(frozen=True)
class _Read:
    rgb: npt.NDArray[np.uint8]
    hash: bytes


class FrozenEncoder(Protocol):
    """Pictures of `size` pixels a side → maps of `cells` × `channels`."""

    size: int
    cells: int
    channels: int

    def encode(self, pictures: Pixels) -> npt.NDArray[np.floating[Any]]:
        """(batch, size, size, 3) uint8 RGB → (batch, cells, channels)."""


class Interrupted(Exception):
    """The job was asked to end while pictures were read."""


def feature_maps(
    folder: Path,
    keys: Sequence[str],
    encoder: FrozenEncoder,
    out: Path,
    fingerprint: str,
    stopping: Callable[[], bool],
    vary: Callable[[Pixels], Pixels] | None = None,
) -> PictureArrays:
    """Run a frozen encoder over every picture once; a finished `out` of the same fingerprint is used again.

    Args:
        folder: where the pictures lie, `keys` below it.
        keys: file names.
        encoder: what makes maps of pictures.
        out: the file for the maps; a description is put beside it.
        fingerprint: of the encoder's name and weights.
        stopping: true once the job is asked to end.
        vary: changes (batch, size, size, 3) uint8 pictures before they are encoded.

    Raises:
        UserError: more than 5 % of the pictures cannot be used.
        Interrupted: `stopping` turned true.
    """

    def encode(pixels: Pixels) -> npt.NDArray[np.generic]:
        maps = encoder.encode(pixels if vary is None else vary(pixels))
        half: npt.NDArray[np.generic] = np.clip(maps, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)
        return half

    shape = (len(keys), encoder.cells, encoder.channels)
    return _store(folder, keys, encoder.size, shape, np.float16, encode, out, fingerprint, stopping)


def pixels(folder: Path, keys: Sequence[str], size: int, out: Path, stopping: Callable[[], bool]) -> PictureArrays:
    """The pictures themselves, for an encoder that is trained; else as `feature_maps`."""
    shape = (len(keys), size, size, 3)
    return _store(folder, keys, size, shape, np.uint8, lambda batch: batch, out, f"pixels {size}", stopping)


def _store(
    folder: Path,
    keys: Sequence[str],
    size: int,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    transform: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.generic]],
    out: Path,
    fingerprint: str,
    stopping: Callable[[], bool],
) -> PictureArrays:
    described = {"fingerprint": fingerprint, "shape": list(shape), "hash": HASH_NAME, "keys": list(keys)}
    size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    finished = _finished(out, described, size_bytes)
    if finished is not None:
        log.info("what is needed of %d pictures is there already", len(keys))
        broken, hashes = finished
        _report(broken, len(keys))
        return PictureArrays(np.memmap(out, dtype, "r", shape=shape), _usable(keys, broken), broken, hashes)
    _reserve(out, size_bytes)
    arrays = np.memmap(out, dtype, "r+", shape=shape)
    hashes = np.zeros((len(keys), HASH_BYTES), np.uint8)
    broken = []
    batch: list[tuple[int, npt.NDArray[np.uint8]]] = []

    def flush() -> None:
        if batch:
            arrays[[index for index, _ in batch]] = transform(np.stack([rgb for _, rgb in batch]))
            batch.clear()

    bar = tqdm(total=len(keys), desc="pictures", unit="picture", disable=not sys.stderr.isatty(), leave=False)
    for index, one in enumerate(_read_ahead(folder, keys, size)):
        if stopping():
            raise Interrupted
        if isinstance(one, Broken):
            broken.append(one)
        else:
            hashes[index] = np.frombuffer(one.hash, np.uint8)
            batch.append((index, one.rgb))
        if len(batch) == ENCODE_BATCH:
            flush()
        bar.update()
    flush()
    bar.close()
    arrays.flush()
    _report(broken, len(keys))
    _describe(out, described, broken, hashes)
    return PictureArrays(np.memmap(out, dtype, "r", shape=shape), _usable(keys, broken), broken, hashes)


def _reserve(out: Path, size_bytes: int) -> None:
    """Make the file in its full size: a disk that fills up later would end the process without a word (SIGBUS)."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _description(out).unlink(missing_ok=True)  # what it describes is about to go
    with out.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size_bytes)


def _read_ahead(folder: Path, keys: Sequence[str], size: int) -> Iterator[_Read | Broken]:
    """Decoded pictures in order, some read ahead in threads (Pillow decodes without the interpreter's lock)."""
    threads = max(1, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[_Read | Broken]] = deque()
        try:
            for key in keys:
                ahead.append(pool.submit(_read, folder, key, size))
                if len(ahead) >= READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _read(folder: Path, key: str, size: int) -> _Read | Broken:
    try:
        rgb = picture.load((folder / key).read_bytes(), size)
        return _Read(rgb, picture_hash(rgb))
    except FileNotFoundError:
        return Broken(key, "no such file in the training channel")
    except (OSError, picture.PictureError) as error:
        return Broken(key, str(error))


def _report(broken: list[Broken], total: int) -> None:
    for one in broken[:LISTED_BROKEN]:
        log.warning("picture %s is left out: %s", one.key, one.reason)
    if len(broken) > LISTED_BROKEN:
        log.warning("and %d more pictures are left out", len(broken) - LISTED_BROKEN)
    if len(broken) > MAX_BROKEN_SHARE * total:
        raise UserError(
            f"{len(broken)} of {total} pictures cannot be used, more than {MAX_BROKEN_SHARE:.0%}: "
            f"first {broken[0].key}: {broken[0].reason}. Check the `training` channel"
        )


def _usable(keys: Sequence[str], broken: Sequence[Broken]) -> list[int]:
    left_out = {one.key for one in broken}
    return [index for index, key in enumerate(keys) if key not in left_out]


def _description(out: Path) -> Path:
    return out.with_name(out.name + ".json.sagemaker-ignore")


def _describe(out: Path, described: Mapping[str, object], broken: list[Broken], hashes: Hashes) -> None:
    found = {"broken": [[one.key, one.reason] for one in broken], "hashes": hashes.tobytes().hex()}
    temporary = _description(out).with_suffix(".part.sagemaker-ignore")
    temporary.write_text(json.dumps({**described, **found}))
    os.replace(temporary, _description(out))


def _finished(out: Path, described: Mapping[str, object], size_bytes: int) -> tuple[list[Broken], Hashes] | None:
    try:
        there = json.loads(_description(out).read_text())
        whole = out.stat().st_size == size_bytes
    except (OSError, ValueError):
        return None
    broken, hashes = there.pop("broken", []), there.pop("hashes", "")
    if there != described or not whole:
        return None
    rows = np.frombuffer(bytes.fromhex(hashes), np.uint8).reshape(-1, HASH_BYTES)
    return [Broken(key, reason) for key, reason in broken], rows
