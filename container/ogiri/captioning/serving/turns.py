"""So many at a time, first come, first served."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A context manager for as many threads at a time as there are places; the others wait in the order they came.

    `threading.Semaphore` lets whoever comes at the right moment overtake those who wait, again and again: the slowest
    of a hundred requests then waits several times as long as the others.
    """

    def __init__(self, places: int) -> None:
        """Args: places: at least 1."""
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # released by whoever leaves: the place is handed over, nobody else can take it

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
