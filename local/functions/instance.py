"""A started function: a process that takes one event at a time."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from local.functions.configuration import Configuration
from local.functions.runtime import CODE, FOLDER, Runtime
from local.process import tail

PATH = "/2015-03-31/functions/function/invocations"
START_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
SLACK_SECONDS = 5.0  # that the runtime gets to say itself that the time is over
_ERROR = {"errorMessage", "errorType"}


class Instance:
    """One process of a function.

    Args:
        configuration: of the function.
        runtime: what runs it.
        environment: of every function: where AWS is.
        log: file that gets what it prints, behind what is there.
    """

    def __init__(
        self, configuration: Configuration, runtime: Runtime, environment: Mapping[str, str], log: Path
    ) -> None:
        self.configuration = configuration
        self._port, own_port = _free_ports()
        self._log = log
        own = {
            **environment,
            "PYTHONPATH": os.pathsep.join(map(str, CODE)),
            "PYTHONUNBUFFERED": "1",
            "AWS_LAMBDA_FUNCTION_NAME": configuration.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(configuration.seconds),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            **configuration.variables,
        }
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                runtime.command(configuration.handler, self._port, own_port),
                cwd=FOLDER,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it can take another event."""
        return self._process.poll() is None

    def invoke(self, event: bytes) -> bytes:
        """The answer to one event: what the function returns, or what Lambda says of its failure (`failed`)."""
        try:
            self._wait()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._seconds)
            with contextlib.closing(connection):
                connection.request("POST", PATH, event, {"Content-Type": "application/json"})
                data = connection.getresponse().read()
        except TimeoutError:
            self.close()
            return self._error("Sandbox.Timedout", f"Task timed out after {self.configuration.seconds:.2f} seconds")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return self._error("Runtime.ExitError", f"{error}; the end of {self._log}:\n{tail(self._log)}")
        try:
            json.loads(data)
        except ValueError:  # the emulator says in plain text that the time is over
            self.close()
            return self._error("Sandbox.Timedout", data.decode("utf-8", errors="replace"))
        return data

    def close(self) -> None:
        """End it, and whatever it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    @property
    def _seconds(self) -> float:
        return self.configuration.seconds + SLACK_SECONDS

    def _wait(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                if not self.alive or time.monotonic() >= deadline:
                    raise
            time.sleep(POLL_SECONDS)

    def _error(self, kind: str, message: str) -> bytes:
        return json.dumps({"errorType": kind, "errorMessage": f"RequestId: {uuid.uuid4()} Error: {message}"}).encode()


def failed(answer: bytes) -> bool:
    """Whether an answer is Lambda's word on a failure; the emulator has no other sign of it."""
    told = json.loads(answer)
    return isinstance(told, dict) and told.keys() >= _ERROR and told.keys() <= {*_ERROR, "requestId", "stackTrace"}


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])
