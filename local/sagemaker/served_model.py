"""One model behind an endpoint: `container/serve` on a port of its own, from its start to its last answer."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.process import tail
from local.sagemaker.launch import Launcher

PING_SECONDS = 2.0  # that /ping may take
STOP_SECONDS = 30.0  # between SIGTERM and SIGKILL
DRAIN_SECONDS = 60.0  # that a call may take
POLL_SECONDS = 0.05


class ServingError(Exception):
    """A server that does not answer; the message is the endpoint's FailureReason."""


@dataclass
class ServedModel:
    """A server and the calls that it answers.

    Attributes:
        variant: of the endpoint configuration that asked for it.
        process: of `serve`.
        port: on loopback.
        log: of the process.
    """

    variant: Mapping[str, Any]
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    _calls: int = 0
    _idle: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def start(
        cls,
        launcher: Launcher,
        container: Mapping[str, Any],
        variant: Mapping[str, Any],
        base: Path,
        log: Path,
    ) -> ServedModel:
        """Start `serve` for the model in `base`; it may take a while until it answers."""
        port = _free_port()
        environment = {**container.get("Environment", {}), "SAGEMAKER_BIND_TO_PORT": str(port)}
        with log.open("wb") as output:
            process = launcher.start("serve", container.get("Image", ""), base, environment, output)
        return cls(variant, process, port, log)

    def wait(self, seconds: float, given_up: threading.Event) -> None:
        """Wait until /ping says 200.

        Raises:
            ServingError: it ended, nobody wants it any more, or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not self._healthy():
            if self.process.poll() is not None:
                raise ServingError(f"serve ended with exit code {self.process.returncode}:\n{tail(self.log)}")
            if given_up.is_set():
                raise ServingError("the endpoint was deleted")
            if time.monotonic() >= deadline:
                raise ServingError(
                    "The primary container for production variant "
                    f"{self.variant['VariantName']} did not pass the ping health check. Its log ends:\n{tail(self.log)}"
                )
            time.sleep(POLL_SECONDS)

    def enter(self) -> None:
        """Count a call; `close` waits for its `leave`."""
        with self._idle:
            self._calls += 1

    def leave(self) -> None:
        """The call is over."""
        with self._idle:
            self._calls -= 1
            self._idle.notify_all()

    @contextlib.contextmanager
    def connection(self, seconds: float) -> Iterator[http.client.HTTPConnection]:
        """To the server; nothing on it may take longer than so many seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        with contextlib.closing(connection):
            yield connection

    def close(self) -> None:
        """End it once its calls are over."""
        with self._idle:
            self._idle.wait_for(lambda: not self._calls, DRAIN_SECONDS)
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _healthy(self) -> bool:
        try:
            with self.connection(PING_SECONDS) as connection:
                connection.request("GET", "/ping")
                return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
