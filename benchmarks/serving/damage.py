"""Disks without room, and spoilt models."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ogiri.captioning.serving.engine import weights_file

DISK_MB = 64
SPOILT_BYTES = 65536

_MOUNTED = f'mount -t tmpfs -o size={DISK_MB}m none "$TMPDIR" && '
SMALL_DISK = ("unshare", "--mount", "sh", "-c", _MOUNTED + 'exec "$@"', "sh")
"""A command around `serve`: its temporary folder is a small disk of its own."""

_FILLED = """
head -c 1G /dev/zero >"$TMPDIR/full" 2>/dev/null
mount -o remount,bind,ro /
exec "$@"
"""
FULL_AT_START = ("unshare", "--mount", "sh", "-c", _MOUNTED.removesuffix("&& ") + _FILLED, "sh")
"""The same, there is no room on it, and no other folder can be written to."""


def fill(folder: Path) -> Path:
    """Write a file into a folder until its disk is full, and return it."""
    path = folder / "full"
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 1):
            while _written(file.fileno(), bytes(size)):
                pass
    return path


def _written(descriptor: int, data: bytes) -> bool:
    try:
        return os.write(descriptor, data) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


class Copy:
    """A copy of a model, to be spoilt."""

    def __init__(self, base: Path, folder: Path) -> None:
        """Copy `base/model` into `folder`."""
        self.base = folder
        self._model = folder / "model"
        self._origin = base / "model"
        shutil.copytree(self._origin, self._model)
        graph = self._model / "decoder.onnx"
        self.spoilt = next(path for path in (weights_file(graph), graph) if path.is_file())

    def overwrite(self) -> None:
        """Change the decoder in the middle, in place: who has mapped it sees that."""
        with self.spoilt.open("r+b") as file:
            file.seek(self.spoilt.stat().st_size // 2)
            file.write(b"\x5a" * min(SPOILT_BYTES, self.spoilt.stat().st_size // 4))

    def truncate(self) -> None:
        """Cut every graph, and its weights beside it, in half."""
        for path in self._model.glob("*.onnx*"):
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._model)

    def restore_spoilt(self) -> None:
        """Bring the files back, but for the decoder, which is changed and as long as it was."""
        shutil.copytree(self._origin, self._model)
        self.overwrite()
