"""The real `serve` to be disturbed: its log, its processes, what they hold."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.serving.process import below, proportional_bytes

START_SECONDS = 120
SETTLE_SECONDS = 15  # until what was begun for callers that have gone is over
STOP_SECONDS = 40
POLL_SECONDS = 0.05
PING_TIMEOUT_SECONDS = 2


@dataclass(frozen=True)
class Held:
    """What the server holds.

    Attributes:
        processes: how many there are.
        descriptors: open files and sockets of all of them.
        files: in its temporary folder.
        megabytes: resident, what is shared counted once.
    """

    processes: int
    descriptors: int
    files: int
    megabytes: float


@dataclass(frozen=True)
class Served:
    """A running `serve`.

    Attributes:
        process: its first process.
        port: where it listens.
        log_file: what it has written.
        temporary: its TMPDIR.
    """

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    temporary: Path

    def ping(self) -> int:
        """The status, 0 if nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_TIMEOUT_SECONDS)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/ping")
            return connection.getresponse().status
        return 0

    def wait_until_ready(self) -> float:
        """Seconds until `/ping` is 200.

        Raises:
            RuntimeError: it ended, or took too long.
        """
        began = time.monotonic()
        while self.ping() != http.HTTPStatus.OK:
            if self.process.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise RuntimeError(f"serve is not ready, its exit status is {self.process.poll()}: {self.log()[-4:]}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def worker(self) -> int:
        """The process that holds the model: the largest."""
        return max(below(self.process.pid), key=proportional_bytes)

    def held(self) -> Held:
        """What it holds now."""
        processes = below(self.process.pid)
        descriptors = 0
        for each in processes:
            with contextlib.suppress(FileNotFoundError):
                descriptors += len(os.listdir(f"/proc/{each}/fd"))
        files = sum(path.is_file() for path in self.inside().rglob("*"))
        megabytes = sum(proportional_bytes(each) for each in processes) / 1e6
        return Held(len(processes), descriptors, files, megabytes)

    def settled(self, before: Held) -> Held:
        """What it holds once that is no more than before, or after SETTLE_SECONDS."""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            now = self.held()
            leaks = (now.processes, now.descriptors, now.files) > (before.processes, before.descriptors, before.files)
            if not leaks or time.monotonic() > end:
                return now
            time.sleep(POLL_SECONDS)

    def inside(self) -> Path:
        """The temporary folder as the server sees it, whatever is mounted there."""
        return Path(f"/proc/{self.process.pid}/root{self.temporary}")

    def log(self) -> list[dict[str, Any]]:
        """Its log; a line that is no JSON has the level `broken`."""
        return [_entry(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        """Whole lines; a path in one may hold what `splitlines` takes for the end of a line."""
        return self.log_file.read_text(encoding="utf-8").split("\n")[:-1]

    def failures(self) -> list[str]:
        """What the log calls a bug: an exception that nobody expected, or a line that is no JSON."""
        return [each["message"] for each in self.log() if each["level"] == "broken" or "traceback" in each]


@contextlib.contextmanager
def served(base: Path, prefix: Sequence[str] = (), ready: bool = True) -> Iterator[Served]:
    """Start `serve` on `base/model` in a fresh temporary folder, wait until it is `ready`, and end it afterwards.

    Args:
        base: as SAGEMAKER_BASE_DIR.
        prefix: a command around it.
        ready: wait for that.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    temporary = folder / "tmp"
    temporary.mkdir()
    port = _free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "container"),
        "TMPDIR": str(temporary),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    with (folder / "log").open("wb") as log:
        command = [*prefix, sys.executable, str(ROOT / "container" / "serve")]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        server = Served(process, port, folder / "log", temporary)
        if ready:
            server.wait_until_ready()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _entry(line: str) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"level": "broken", "message": line}
    return entry


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
