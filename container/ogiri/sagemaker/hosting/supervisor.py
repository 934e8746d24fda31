"""The process that `serve` is: nginx and gunicorn are its children, and it ends as they should.

Nothing heavy is imported here: nginx listens within a few milliseconds, while gunicorn still imports Flask.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ogiri.sagemaker.hosting import child, front, logs
from ogiri.sagemaker.hosting.child import Child
from ogiri.sagemaker.hosting.metrics import Metrics
from ogiri.sagemaker.hosting.settings import Settings, workers_warning
from ogiri.task import UserError

GRACE_SECONDS = 25  # SageMaker sends SIGKILL 30 s after SIGTERM
END_SECONDS = 3  # how long a child may take to end that has nothing left to do

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    logs.configure(logging.INFO)
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        if warning := workers_warning(os.environ):
            logger.warning(warning)
        supervisor = Supervisor(settings)  # heeds signals from here on
        with _runtime_folder() as folder:
            return supervisor.run(folder)
    except UserError as error:
        logger.error("%s", error)
        return 1


@contextlib.contextmanager
def _runtime_folder() -> Iterator[Path]:
    """A fresh folder for sockets, configuration and temporary files, so that two servers run on one machine."""
    try:
        folder = tempfile.mkdtemp(prefix="ogiri-")
    except OSError as error:
        raise UserError(f"no folder for temporary files can be made ({error}): mount a writable /tmp") from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Supervisor:
    """Starts nginx and gunicorn, waits for a signal or the end of one of them, and ends both."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics() if settings.metrics else None
        self._stopping = False
        self._unfinished_line = b""
        self._listen_to_signals()

    def run(self, folder: Path) -> int:
        """Serve, with files in `folder`.

        Returns:
            The exit code: 0 after a signal, else that of the child which ended without being told to.

        Raises:
            UserError: there is no nginx, or the port cannot be had.
        """
        command = front.command(self._settings, folder)
        gc.freeze()  # what is imported stays shared with gunicorn, whose collections would write to it
        self._gunicorn = child.start("gunicorn", lambda: self._run_gunicorn(folder))
        self._nginx = child.start("nginx", lambda: self._run_nginx(command))
        os.close(self._log_writer)
        if self._metrics:
            self._metrics.start(self._settings.metrics_seconds)
        try:
            self._wait_until(lambda: self._stopping or self._ended() is not None)
            ended = self._ended()
            return self._finish_requests() if self._stopping or ended is None else self._report(ended)
        finally:
            self._end_children()

    def _listen_to_signals(self) -> None:
        self._signal_reader, writer = os.pipe()
        self._log_reader, self._log_writer = os.pipe()
        for descriptor in (self._signal_reader, writer, self._log_reader):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in child.SIGNALS:
            signal.signal(number, lambda *_: None)  # the wake-up pipe says which it was

    def _run_gunicorn(self, folder: Path) -> None:
        os.close(self._log_reader)
        os.close(self._log_writer)
        # Imported by this child alone: it is heavy.
        from ogiri.sagemaker.hosting import application_server

        application_server.run(self._settings, folder)

    def _run_nginx(self, command: list[str]) -> None:
        os.dup2(self._log_writer, 1)
        os.dup2(self._log_writer, 2)
        os.execv(command[0], command)  # noqa: S606 - the shell-less way is the safe one

    # --- waiting

    def _wait_until(self, done: Callable[[], bool], seconds: float | None = None) -> bool:
        """Forward nginx's log and collect dead children until `done`; False if that takes longer than `seconds`."""
        deadline = None if seconds is None else time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._signal_reader, select.POLLIN)
        poller.register(self._log_reader, select.POLLIN)
        while not done():
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return False
            for descriptor, _ in poller.poll(None if remaining is None else remaining * 1000 + 1):
                if descriptor == self._signal_reader:
                    self._handle_signals()
                elif not self._forward_log():
                    poller.unregister(self._log_reader)
        return True

    def _handle_signals(self) -> None:
        self._stopping |= any(number in STOP_SIGNALS for number in os.read(self._signal_reader, 512))
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0] != 0:  # any process: orphans come to process 1
                for process in (self._nginx, self._gunicorn):
                    if process.pid == found[0]:
                        process.status = found[1]

    def _forward_log(self) -> bool:
        """Log the lines that nginx has written; False once it can write no more."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._log_reader, 65536):
                *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
                for line in lines:
                    front.log(line.decode(errors="replace"), self._metrics)
            return False
        return True

    def _ended(self) -> Child | None:
        return next((process for process in (self._gunicorn, self._nginx) if process.status is not None), None)

    # --- ending

    def _finish_requests(self) -> int:
        logger.info("stopping: new requests are refused, running ones may take %d s", GRACE_SECONDS)
        for _ in range(GRACE_SECONDS):
            self._nginx.send(signal.SIGQUIT)  # again and again: in its first milliseconds it may leave one unheeded
            if self._wait_until(lambda: self._nginx.status is not None, 1):
                break
        else:
            logger.warning("requests that still run after %d s are cut off", GRACE_SECONDS)
        return 0

    def _report(self, ended: Child) -> int:
        code = ended.exit_code or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._forward_log()  # the cause comes first
        logger.error("%s %s: the server ends", ended.name, how)
        return code if code > 0 else 1

    def _end_children(self) -> None:
        both = (self._nginx, self._gunicorn)
        for process in both:
            process.send(signal.SIGTERM)
        self._wait_until(lambda: all(process.status is not None for process in both), END_SECONDS)
        for process in both:
            process.kill_group()
        self._forward_log()
        if self._metrics:
            self._metrics.end()
