"""A Lambda in a process of its own.

    python -m benchmarks.aws.function NAME        an event a line comes in, an answer a line goes out

Its memory and threads are its own, and a SIGKILL ends it as the platform would; what a handler raises goes out as the
runtime says it, `{"errorType", "errorMessage"}`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.machine import ROOT
from local.functions.handler import Context

DIED = "Lambda.Unknown"
MEMORY_MB = 1024  # told to the handler; nothing holds it to that
TIMEOUT_SECONDS = 900.0

Event = dict[str, Any]


class FunctionError(Exception):
    """What the state machine is told of a function: `name` is what its Retry compares."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class Function:
    """A process that has imported its handler and waits for events, one at a time."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.aws.function", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
        )
        self.busy = False
        self._told()

    def call(self, event: Event) -> Event:
        """The answer to an event.

        Raises:
            FunctionError: the handler raised, or the process died.
        """
        assert self.process.stdin is not None
        self.busy = True
        try:
            self.process.stdin.write(json.dumps(event).encode() + b"\n")
            self.process.stdin.flush()
            answer = self._told()
        except BrokenPipeError as error:
            raise FunctionError(DIED, "the process has died") from error
        finally:
            self.busy = False
        if "errorType" in answer:
            raise FunctionError(answer["errorType"], answer["errorMessage"])
        return answer

    def close(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _told(self) -> Event:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise FunctionError(DIED, "the process has died")
        told: Event = json.loads(line)
        return told


def main() -> None:
    """Answer until the input ends."""
    name = sys.argv[1]
    answers, sys.stdout = sys.stdout, sys.stderr  # the log goes another way
    spec = importlib.util.spec_from_file_location(name, ROOT / "lambda" / "functions" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = module.lambda_handler(
                json.loads(line), Context(name, MEMORY_MB, deadline=time.monotonic() + TIMEOUT_SECONDS)
            )
        except Exception as error:
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
