"""How fast all processors together read memory: no step can be faster than reading the weights once."""

from __future__ import annotations

import threading
import time

import numpy as np

from ogiri.machine import available_processors

BUFFER_BYTES = 256 << 20
"""Of each thread, many times what the caches hold."""
READS = 3


def bytes_per_second(threads: int | None = None) -> float:
    """The best of some reads of a buffer a thread, all at once.

    numpy takes the maximum of bytes with the processor's vector instructions, sixteen or more at a time, and lets go of
    Python's lock meanwhile; what it computes costs less than the memory takes to come.

    Args:
        threads: by default as many as there are processors.
    """
    count = threads or available_processors()
    buffers = [np.ones(BUFFER_BYTES, np.uint8) for _ in range(count)]  # written, so each page is there
    return max(count * BUFFER_BYTES / _seconds(buffers) for _ in range(READS))


def _seconds(buffers: list[np.ndarray[tuple[int], np.dtype[np.uint8]]]) -> float:
    begin = threading.Barrier(len(buffers) + 1)

    def read(buffer: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
        begin.wait()
        buffer.max()

    readers = [threading.Thread(target=read, args=(buffer,)) for buffer in buffers]
    for reader in readers:
        reader.start()
    begin.wait()
    began = time.perf_counter()
    for reader in readers:
        reader.join()
    return time.perf_counter() - began
