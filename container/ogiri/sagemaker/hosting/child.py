"""A child process of `serve`."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
"""What the supervisor handles, and a child must not inherit."""

_PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)


@dataclass
class Child:
    """A process and all of its descendants, which form one process group.

    Attributes:
        name: what the log calls it.
        pid: process id, the id of the group as well.
        status: how it ended, as `os.wait` tells it; None while it runs.
    """

    name: str
    pid: int
    status: int | None = None

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return None if self.status is None else os.waitstatus_to_exitcode(self.status)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self.status is None:
            os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Kill the process, and its descendants, which may have outlived it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def start(name: str, run: Callable[[], None]) -> Child:
    """Start a process that calls `run` and then ends. It is told to end when this process dies, however that happens.

    A fork, not a new interpreter: what is imported already need not be imported again.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # none may arrive while the child has this process's handlers
    try:
        pid = os.fork()
        if pid == 0:
            _become(run, parent)
        with contextlib.suppress(OSError):  # it has done so itself, or is gone
            os.setpgid(pid, pid)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return Child(name, pid)


def _become(run: Callable[[], None], parent: int) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        _end_with(parent)
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        run()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        logger.exception("a process could not start")
    finally:
        os._exit(code)


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
