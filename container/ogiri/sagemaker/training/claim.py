"""The folder of checkpoints belongs to one job at a time: on one host a lock says so."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ogiri.task import UserError

LOCK = "job.lock.sagemaker-ignore"  # a lock does not reach beyond the host: no use in S3

_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)

_log = logging.getLogger(__name__)


@contextmanager
def hold(folder: Path, job_name: str) -> Iterator[None]:
    """Keep others off a folder for as long as the block runs; the lock goes with the process, however that ends.

    Args:
        folder: of checkpoints.
        job_name: told to whoever comes too.

    Raises:
        UserError: another job is at work in it.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"the checkpoint folder {folder} is in use by {_holder(folder / LOCK)}: give each job a folder of its "
                "own (SAGEMAKER_BASE_DIR, or what is mounted there), or wait until the other one has ended"
            ) from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            _log.warning("%s cannot be locked (%s): another job in it would not be noticed", folder, error.strerror)
        file.truncate(0)
        file.write(json.dumps({"job": job_name, "process": os.getpid()}))
        file.flush()
        yield


def _holder(lock: Path) -> str:
    try:
        told = json.loads(lock.read_text(encoding="utf-8"))
        return f"training job {told['job']} (process {told['process']})"
    except (OSError, ValueError, TypeError, KeyError):  # it is just beginning
        return "another training job"
