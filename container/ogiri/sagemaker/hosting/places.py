"""The requests that may be answered at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask import Response

from ogiri.task import RequestError


class Places:
    """A limit that nginx keeps to as well, but nginx forgets a caller that has hung up before its thread is free."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.BoundedSemaphore(count)

    def answer(self, respond: Callable[[], Response]) -> Response:
        """What `respond` returns. It holds a place until it returns, a streamed response until that is closed.

        Raises:
            RequestError: no place is free (503).
        """
        if not self._free.acquire(blocking=False):
            raise RequestError(f"{self._count} requests are being answered already: try again later", "overloaded", 503)
        try:
            response = respond()
        except BaseException:
            self._free.release()
            raise
        if response.is_streamed:
            response.call_on_close(self._free.release)
        else:
            self._free.release()
        return response
