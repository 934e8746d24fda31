"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

SECONDS = 240
POLL_SECONDS = 0.1

T = TypeVar("T")


def until(ready: Callable[[], T | None], seconds: float = SECONDS) -> T:
    """The first answer that is something; fails where none comes."""
    deadline = time.monotonic() + seconds
    while not (answer := ready()):
        assert time.monotonic() < deadline, f"nothing within {seconds:g} s"
        time.sleep(POLL_SECONDS)
    return answer
