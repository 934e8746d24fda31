"""A server that runs as long as a `with` block: waited for until it answers, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

START_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
TAIL_LINES = 20

T = TypeVar("T")


class ProcessError(RuntimeError):
    """A process that did not start or did not answer; the message ends with the last lines of its log."""


@contextlib.contextmanager
def running(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    ready: Callable[[], T | None],
    environment: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator[T]:
    """Start `command`, yield the first answer of `ready` that is not None, and end the process afterwards.

    Args:
        command: program and arguments.
        log: file that gets stdout and stderr.
        ready: asked again and again; None means not yet.
        environment: the whole environment of the process, this one's by default.
        start_seconds: how long `ready` may take.
        stop_seconds: how long the process may take to end on SIGTERM before it is killed.

    Raises:
        ProcessError: the process ended, or was not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,  # Ctrl-C reaches this program alone, which then ends its servers in order
        )
    try:
        name = " ".join(os.fspath(part) for part in command[:4])
        yield _wait(process, name, ready, log, start_seconds)
    finally:
        end(process, stop_seconds)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def end(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """End a process with SIGTERM, or with SIGKILL if that takes longer than so many seconds."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], name: str, ready: Callable[[], T | None], log: Path, seconds: float) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ProcessError(f"{name} ended with exit code {process.returncode} at its start:\n{tail(log)}")
        answer = ready()
        if answer is not None:
            return answer
        time.sleep(POLL_SECONDS)
    raise ProcessError(f"{name} did not answer within {seconds:g} s:\n{tail(log)}")
