"""Files of a bounded size that together hold what is kept of all pictures; a job that ends early keeps those it has.

A shard is one file: the rows, then 32 bytes of perceptual hash for each of them, then a description in JSON, then
the length of that. It gets its name when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.duplicates import HASH_BYTES, HASH_NAME, Hashes
from ogiri.captioning.data.sharded_array import ShardedArray

BLOCK_ROWS = 32  # that are made together
MAX_SHARD_ROWS = 2048
MAX_SHARD_BYTES = 256 << 20
LENGTH_BYTES = 8
MAX_DESCRIPTION_BYTES = 16 << 20


@dataclass(frozen=True)
class Block:
    """Some rows in a row, made.

    Attributes:
        rows: (n, …), zeros for broken pictures.
        hashes: (n, `HASH_BYTES`), zeros for broken pictures.
        broken: which of them, 0 to n - 1, cannot be used, and why.
    """

    rows: npt.NDArray[Any]
    hashes: Hashes
    broken: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Described:
    """What a shard says beside its rows.

    Attributes:
        hashes: (rows, `HASH_BYTES`).
        broken: rows of all pictures, not of this shard, that cannot be used, and why.
    """

    hashes: Hashes
    broken: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Shards:
    """The files of one array.

    Attributes:
        out: folder and first part of the files' names.
        keys: of the pictures; row by row what the array is of.
        row_shape: of what is kept of a picture.
        dtype: of the same.
        fingerprint: of how it is made.
    """

    out: Path
    keys: Sequence[str]
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fingerprint: str

    def __len__(self) -> int:
        return -(-len(self.keys) // self.rows_per_shard)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def rows_per_shard(self) -> int:
        """Whole blocks, as many as fit."""
        return max(1, min(MAX_SHARD_ROWS, MAX_SHARD_BYTES // self.row_bytes) // BLOCK_ROWS) * BLOCK_ROWS

    def rows(self, number: int) -> range:
        """Which rows a shard holds."""
        first = number * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, len(self.keys)))

    def blocks(self, number: int) -> list[range]:
        """The same in the pieces in which they are made."""
        rows = self.rows(number)
        return [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]

    def path(self, number: int) -> Path:
        """Where a shard lies when it is whole; the ending keeps SageMaker from copying it to S3."""
        return self.out.with_name(f"{self.out.name}.{number:05}.sagemaker-ignore")

    def part(self, number: int) -> Path:
        """Where it lies until then."""
        return self.out.with_name(f"{self.out.name}.{number:05}.part.sagemaker-ignore")

    def array(self) -> ShardedArray:
        """All rows; every shard must be whole."""
        shape = (len(self.keys), *self.row_shape)
        return ShardedArray([self.path(n) for n in range(len(self))], self.rows_per_shard, shape, self.dtype)

    def write(self, number: int, blocks: Iterable[Block]) -> Described:
        """Write a shard out of its blocks; its place on disk is taken first, so that a full disk is known at once.

        Raises:
            OSError: it cannot be written.
        """
        rows, part = self.rows(number), self.part(number)
        part.parent.mkdir(parents=True, exist_ok=True)
        hashes, broken = [], []
        first = rows.start
        try:
            with part.open("wb", buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, len(rows) * (self.row_bytes + HASH_BYTES))
                for block in blocks:
                    _write(file.fileno(), np.ascontiguousarray(block.rows, self.dtype).tobytes())
                    hashes.append(block.hashes)
                    broken += [(first + row, reason) for row, reason in block.broken]
                    first += len(block.rows)
                if first != rows.stop:
                    raise RuntimeError(f"shard {number} of {self.out} was given rows up to {first} of {rows}")
                described = Described(np.concatenate(hashes), tuple(broken))
                _write(file.fileno(), described.hashes.tobytes() + self._tail(number, described))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        os.replace(part, self.path(number))
        return described

    def read(self, number: int) -> Described | None:
        """What a shard says of itself; None where it is not there, not whole or of something else."""
        rows = self.rows(number)
        try:
            with self.path(number).open("rb") as file:
                file.seek(len(rows) * self.row_bytes)
                rest = file.read(len(rows) * HASH_BYTES + MAX_DESCRIPTION_BYTES)
        except OSError:
            return None
        hashes, tail = rest[: len(rows) * HASH_BYTES], rest[len(rows) * HASH_BYTES :]
        length = int.from_bytes(tail[-LENGTH_BYTES:], "little")
        if len(tail) < LENGTH_BYTES or length != len(tail) - LENGTH_BYTES:
            return None
        try:
            there = json.loads(tail[:length])
            broken = tuple((int(row), str(reason)) for row, reason in there.pop("broken"))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        if there != self._description(number):
            return None
        return Described(np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES), broken)

    def remove(self, number: int) -> None:
        """Forget a shard."""
        self.path(number).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove shards behind the last one, which an earlier job with more pictures has left."""
        for path in self.out.parent.glob(f"{self.out.name}.[0-9][0-9][0-9][0-9][0-9].*"):
            if int(path.name[len(self.out.name) + 1 :].split(".")[0]) >= len(self):
                path.unlink()

    def _tail(self, number: int, described: Described) -> bytes:
        text = json.dumps({**self._description(number), "broken": described.broken}).encode()
        return text + len(text).to_bytes(LENGTH_BYTES, "little")

    def _description(self, number: int) -> dict[str, Any]:
        rows, digest = self.rows(number), hashlib.sha256()
        for row in rows:
            digest.update(self.keys[row].encode() + b"\0")
        shape = [len(rows), *self.row_shape]
        return {
            "fingerprint": self.fingerprint,
            "keys": digest.hexdigest(),
            "first": rows.start,
            "shape": shape,
            "dtype": self.dtype.str,
            "hash": HASH_NAME,
        }


def _write(file: int, data: bytes) -> None:
    """All of it: one call may write less."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
