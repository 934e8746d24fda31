"""A job that fails says why: exit status 1, and the cause in the first line of output/failure.

As in AWS's own containers there are three kinds: `UserError` is for whoever started the job, `PlatformError` for AWS
(start the job again), and `AlgorithmError`, which is everything else, for us.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from ogiri.artifact import ArtifactError
from ogiri.parameter import ParameterError
from ogiri.record import RecordError
from ogiri.task import PlatformError, RankLost, UserError

LOST_CONTACT = str(RankLost(""))
"""What stands in the failure of a process that failed because another had."""

MAX_REASON_CHARACTERS = 1024  # of the file; they become FailureReason

_USER_ERRORS = (UserError, ParameterError, ArtifactError, RecordError)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_WORDS = ("No space left on device", "Disk quota exceeded")  # of libraries that raise their own error
_NO_MEMORY_WORDS = ("can't allocate memory", "CUDA out of memory", "std::bad_alloc", "ALLOC_FAILED")
_RESERVED_BYTES = 1 << 16


class RankError(Exception):
    """A job of several processes failed; the message is what `reason` says of the one that failed first."""


def exit_status(job: Callable[[], None], path: Path) -> int:
    """Run the job.

    Args:
        job: what may fail.
        path: the failure file. One of an earlier run is removed, the new one is written last and in one piece.

    Returns:
        0, or 1 if the job raised anything.
    """
    try:
        path.unlink(missing_ok=True)
        _reserve(path)
        job()
    except BaseException as error:  # a library's sys.exit() is a failure as well
        _write(path, error)
        return 1
    _reserved(path).unlink(missing_ok=True)
    return 0


def reason(error: BaseException) -> str:
    """The cause in one line of at most 1,024 characters: `UserError: batch_size is 0: it must be 1 to 4096`."""
    if isinstance(error, RankError):
        line = str(error)
    elif isinstance(error, _USER_ERRORS):
        line = f"UserError: {error}"
    elif isinstance(error, PlatformError):
        line = f"PlatformError: {error}"
    elif (full := _first(error, _is_disk_full)) is not None:
        line = f"UserError: the disk is full ({full}): give the job a larger VolumeSizeInGB"
    elif (over := _first(error, _is_out_of_memory)) is not None:
        said = str(over).splitlines()[0] if str(over) else type(over).__name__
        line = f"UserError: out of memory ({said}): lower batch_size, or take a larger instance type"
    else:
        root = _root(error)
        line = f"AlgorithmError: {_named(error)}" + (f" (caused by {_named(root)})" if root is not error else "")
    line = " ".join(line.split())
    return line if len(line) < MAX_REASON_CHARACTERS else line[: MAX_REASON_CHARACTERS - 2] + "…"


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return any(words in str(error) for words in _DISK_FULL_WORDS)


def _is_out_of_memory(error: BaseException) -> bool:
    """By its name and its words: torch is not imported here."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY_WORDS)


def _first(error: BaseException, test: Callable[[BaseException], bool]) -> BaseException | None:
    return next((one for one in _chain(error) if test(one)), None)


def _root(error: BaseException) -> BaseException:
    return _chain(error)[-1]


def _chain(error: BaseException) -> list[BaseException]:
    """The error, what caused it, and so on."""
    seen = [error]
    while True:
        last = seen[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None or cause in seen:
            return seen
        seen.append(cause)


def _named(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _write(path: Path, error: BaseException) -> None:
    trace = "".join(traceback.format_exception(error))
    line = reason(error)
    sys.stdout.flush()
    print(f"{trace}{line}", file=sys.stderr, flush=True)
    content = f"{line}\n\n{trace}".encode(errors="replace")[:_RESERVED_BYTES]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(_reserved(path), os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            file.write(content)
            file.truncate()
        os.replace(_reserved(path), path)
    except OSError as unwritable:
        print(f"{path} cannot be written: {unwritable}", file=sys.stderr, flush=True)


def _reserve(path: Path) -> None:
    """Take the room for the failure file now, while there is some: what fails may be that the disk is full."""
    with contextlib.suppress(OSError):  # then `_write` says so, if anything fails at all
        path.parent.mkdir(parents=True, exist_ok=True)
        _reserved(path).write_bytes(bytes(_RESERVED_BYTES))


def _reserved(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")
