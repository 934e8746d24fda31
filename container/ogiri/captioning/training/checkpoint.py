"""The file that a restarted job goes on from, and the one before it, each written whole or not at all.

SageMaker copies the folder to S3 at any moment, and a job may be killed at any moment: a file is written under a
temporary name, brought to the disk, and only then renamed.
"""

from __future__ import annotations

import logging
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any

import torch

from ogiri.task import UserError

NOT_UPLOADED = ".sagemaker-ignore"

log = logging.getLogger(__name__)


class Checkpoints:
    """`training.pt`, and `training.previous.pt` beside it, for a job whose last one is broken."""

    def __init__(self, path: Path, fingerprint: str, job_name: str) -> None:
        """Nothing is read yet.

        Args:
            path: of the last one.
            fingerprint: of data and hyperparameters; a checkpoint of another is not used.
            job_name: of the training job, for whoever else finds its checkpoint here.
        """
        self.path, self.previous = path, path.with_name(f"{path.stem}.previous{path.suffix}")
        self._fingerprint, self._job_name, self._run = fingerprint, job_name, secrets.token_hex(8)
        self._known = {self._run}  # runs whose checkpoint may be replaced: this one, and those that it found
        self._whole = False  # what lies at `path`, so that a broken one never takes the place of the one before

    def load(self) -> dict[str, Any] | None:
        """The last one that is whole and of this job, None where there is none."""
        found = [path for path in (self.path, self.previous) if path.is_file()]
        for path in found:
            values = self._read(path)
            if values is None:
                continue
            if path == self.previous:
                log.warning("going on from %s, the checkpoint before the last", path)
            return values
        if found:
            log.warning("training starts from the beginning")
        return None

    def save(self, values: dict[str, Any]) -> None:
        """Write the next one.

        Raises:
            UserError: another job writes here.
            OSError: the disk is full; what was there is still whole.
        """
        self._refuse_others()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(self.path.name + NOT_UPLOADED)
        owned = {**values, "fingerprint": self._fingerprint, "job": self._job_name, "run": self._run}
        try:
            with temporary.open("wb") as file:
                torch.save(owned, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            temporary.unlink(missing_ok=True)  # a full disk gets its room back, for the failure file too
            raise _cause(error, self.path) from error
        if self._whole and self.path.exists():
            os.replace(self.path, self.previous)
        os.replace(temporary, self.path)
        _to_disk(self.path.parent)
        self._whole = True

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} in it is damaged")
            values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            run, job, fingerprint = (str(values.get(name, "")) for name in ("run", "job", "fingerprint"))
        except Exception as error:
            log.warning("%s cannot be read (%s)", path, error)
            return None
        self._known.add(run)
        self._whole |= path == self.path
        if fingerprint != self._fingerprint:
            log.warning("%s is of other data or hyperparameters", path)
            return None
        if job != self._job_name:
            log.info("%s was written by training job %s", path, job)
        return values

    def _refuse_others(self) -> None:
        try:
            values = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            run, job = str(values.get("run", "")), str(values.get("job", ""))
        except Exception:
            return  # there is none, or a broken one, which nobody goes on from
        if run not in self._known:
            raise UserError(
                f"{self.path} was written by training job {job} (run {run}) while job {self._job_name} (run "
                f"{self._run}) was using it: give each job a checkpoint folder (CheckpointConfig.S3Uri) of its own"
            )


def _cause(error: BaseException, path: Path) -> BaseException:
    """The operating system's word where there is one: torch hides a full disk behind an error of its own."""
    under = error if isinstance(error, OSError) else error.__context__
    return OSError(under.errno, under.strerror, str(path)) if isinstance(under, OSError) else error


def _to_disk(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
