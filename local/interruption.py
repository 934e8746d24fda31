"""SIGINT, SIGTERM and SIGHUP end a program in order, whatever it does when they come.

They raise `KeyboardInterrupt`. Python loses an exception that is raised inside a finaliser or a callback of the garbage
collector, so whoever works in steps asks `check` between them.
"""

from __future__ import annotations

import signal

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_arrived = False


def install() -> None:
    """Take the signals from now on."""
    global _arrived
    _arrived = False
    for number in _NUMBERS:
        signal.signal(number, _interrupt)


def check() -> None:
    """Raise `KeyboardInterrupt` if one of the signals has come."""
    if _arrived:
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: object) -> None:
    global _arrived
    _arrived = True
    for again in _NUMBERS:
        signal.signal(again, signal.SIG_IGN)  # or a second Ctrl-C would leave servers behind
    raise KeyboardInterrupt
