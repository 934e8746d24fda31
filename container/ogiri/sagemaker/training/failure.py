"""A job that fails says why: exit status 1, and the cause in the first line of output/failure.

As in AWS's own containers there are three kinds: `UserError` is for whoever started the job, `PlatformError` for AWS
(start the job again), and `AlgorithmError`, which is everything else, for us.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from ogiri.artifact import ArtifactError
from ogiri.parameter import ParameterError
from ogiri.record import RecordError
from ogiri.task import PlatformError, UserError

MAX_REASON_CHARACTERS = 1024  # of the file; they become FailureReason

_USER_ERRORS = (UserError, ParameterError, ArtifactError, RecordError)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        job()
    except BaseException as error:  # a library's sys.exit() is a failure as well
        _write(path, error)
        return 1
    return 0


def reason(error: BaseException) -> str:
    """The cause in one line of at most 1,024 characters: `UserError: batch_size is 0: it must be 1 to 4096`."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        line = f"UserError: the disk is full ({error}): give the job a larger VolumeSizeInGB"
    elif isinstance(error, _USER_ERRORS):
        line = f"UserError: {error}"
    elif isinstance(error, PlatformError):
        line = f"PlatformError: {error}"
    else:
        root = _root(error)
        line = f"AlgorithmError: {_named(error)}" + (f" (caused by {_named(root)})" if root is not error else "")
    line = " ".join(line.split())
    return line if len(line) < MAX_REASON_CHARACTERS else line[: MAX_REASON_CHARACTERS - 2] + "…"


def _root(error: BaseException) -> BaseException:
    seen = [error]
    while True:
        last = seen[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None or cause in seen:
            return last
        seen.append(cause)


def _named(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _write(path: Path, error: BaseException) -> None:
    trace = "".join(traceback.format_exception(error))
    line = reason(error)
    sys.stdout.flush()
    print(f"{trace}{line}", file=sys.stderr, flush=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(f"{line}\n\n{trace}", encoding="utf-8", errors="replace")
        os.replace(temporary, path)
    except OSError as unwritable:
        print(f"{path} cannot be written: {unwritable}", file=sys.stderr, flush=True)
