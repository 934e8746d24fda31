"""Pictures read, and what is kept of them made, block by block, by as many threads as there are processors.

A thread takes a block from the file to what is kept of it. The decoder of pictures and the encoder both let go of the
interpreter's lock, so no processor waits for another, and neither of the two has to be given a share of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ogiri import picture
from ogiri.captioning.data.duplicates import HASH_BYTES, picture_hash
from ogiri.captioning.data.shards import Block
from ogiri.machine import available_processors

AHEAD = 2  # blocks a thread that are under way or wait to be taken
POLL_SECONDS = 0.2

Pixels = npt.NDArray[np.uint8]


class Interrupted(Exception):
    """The job was asked to end while pictures were read."""


@dataclass(frozen=True)
class BlockMaker:
    """How blocks are made.

    Attributes:
        folder: where the pictures lie, `keys` below it.
        keys: file names.
        size: pixels of a side that pictures are brought to.
        row_shape: of what is kept of a picture.
        dtype: of the same.
        transform: (n, size, size, 3) pictures, the number of the block's first row, and what raises `Interrupted` once
            the job is asked to end → (n, *row_shape); several threads call it.
        stopping: true once the job is asked to end; asked by the calling thread alone.
        threads: 0 = one a processor.
    """

    folder: Path
    keys: Sequence[str]
    size: int
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    transform: Callable[[Pixels, int, Callable[[], None]], npt.NDArray[Any]]
    stopping: Callable[[], bool]
    threads: int = 0

    def blocks(self, wanted: Iterable[range]) -> Generator[Block, None, None]:
        """Blocks of these rows, in order.

        Raises:
            Interrupted: `stopping` turned true.
        """
        threads, ended = self.threads or available_processors(), threading.Event()
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[Future[Block]] = deque()
            try:
                for rows in wanted:
                    ahead.append(pool.submit(self._make, rows, ended))
                    if len(ahead) >= AHEAD * threads:
                        yield self._await(ahead)
                while ahead:
                    yield self._await(ahead)
            finally:
                ended.set()
                for future in ahead:
                    future.cancel()

    def _await(self, ahead: deque[Future[Block]]) -> Block:
        while True:
            if self.stopping():
                raise Interrupted
            if wait([ahead[0]], POLL_SECONDS).done:
                return ahead.popleft().result()

    def _make(self, rows: range, ended: threading.Event) -> Block:
        def go_on() -> None:
            if ended.is_set():
                raise Interrupted

        made = np.zeros((len(rows), *self.row_shape), self.dtype)
        hashes = np.zeros((len(rows), HASH_BYTES), np.uint8)
        broken, usable, pictures = [], [], []
        for place, row in enumerate(rows):
            go_on()
            try:
                rgb = read_picture(self.folder, self.keys[row], self.size)
            except UnusablePicture as error:
                broken.append((place, str(error)))
                continue
            hashes[place] = np.frombuffer(picture_hash(rgb), np.uint8)
            usable.append(place)
            pictures.append(rgb)
        if usable:
            made[usable] = self.transform(np.stack(pictures), rows.start, go_on)
        return Block(made, hashes, tuple(broken))


class UnusablePicture(Exception):
    """A picture that is not there or cannot be decoded; the message says why."""


def read_picture(folder: Path, key: str, size: int) -> Pixels:
    """A picture of the training channel: uint8 (size, size, 3).

    Raises:
        UnusablePicture: it is not there or cannot be decoded.
    """
    try:
        return picture.load((folder / key).read_bytes(), size)
    except FileNotFoundError as error:
        raise UnusablePicture("no such file in the training channel") from error
    except (OSError, picture.PictureError) as error:
        raise UnusablePicture(str(error)) from error
