"""SIGTERM is how SageMaker says: 120 seconds are left.

The handler only sets a flag, which the trainer asks between two steps. It must stand before torch is imported: process
number 1 ignores a signal that it has no handler for, and the import takes seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

_HANDLED = (signal.SIGTERM, signal.SIGINT)

_requested = False


def install() -> None:
    """Let SIGTERM and SIGINT ask the job to stop; a second SIGINT ends it at once."""
    signal.signal(signal.SIGTERM, _request)
    signal.signal(signal.SIGINT, _request)
    os.register_at_fork(after_in_child=_leave_to_parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keep signals back while a process is started: it gets what came meanwhile once it calls `install`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def stopping() -> bool:
    """Whether the job was asked to stop: finish the step, keep what is best so far, return."""
    return _requested


def _request(number: int, _frame: FrameType | None) -> None:
    global _requested
    if number == signal.SIGINT:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _requested:
        return
    _requested = True
    line = f"{signal.Signals(number).name}: stopping after this step, keeping what is best so far\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode())  # print() may be interrupted halfway and must not be entered twice


def _leave_to_parent() -> None:
    """Workers that load data end when their parent ends them, and not by a Ctrl-C that reaches the whole group."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
