"""Clients in a process of their own: each asks again as soon as it has its answer. And one that asks `/ping` alone.

Settings come as JSON on the standard input, what happened goes as JSON to the standard output.
"""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import ROOT

TIMEOUT_SECONDS = 90  # longer than any server's deadline
PING_TIMEOUT_SECONDS = 2  # as long as SageMaker waits
PING_EVERY_SECONDS = 0.01
NO_ANSWER = "no answer"
WRONG = "wrong length"
MAX_RETRY_SECONDS = 1.0
OK = "200"


@dataclass(frozen=True)
class Asked:
    """What clients did.

    Attributes:
        seconds: of each answer with status 200 and a line of the right length.
        errors: what else came: status, or `NO_ANSWER`, or `WRONG` → how often.
        span: seconds from the first request to the last answer.
    """

    seconds: list[float]
    errors: dict[str, int]
    span: float


class Group:
    """A process with clients, which begins at once."""

    def __init__(self, bodies: Sequence[bytes] = (), **settings: Any) -> None:
        """Begin.

        Args:
            bodies: of the requests; each client takes one after the other, from another one on. Without any they GET.
            settings: `port`, `path`, `seconds`, `clients`, `listed`, and if need be `headers`, `timeout` and `tokens`,
                the length of the line that each body asks for.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.clients"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({**settings, "bodies": [base64.b64encode(body).decode() for body in bodies]})
        )
        self._process.stdin.close()

    def result(self) -> Asked:
        """What they did, once their time is up.

        Raises:
            RuntimeError: the process failed.
        """
        with self._process as process:
            assert process.stdout is not None
            text = process.stdout.read()
        if process.returncode:
            raise RuntimeError(f"the clients ended with {self._process.returncode}")
        return Asked(**json.loads(text))


def run(settings: Mapping[str, Any]) -> Asked:
    """All clients at once, for `seconds`; a request that was begun is finished."""
    times: list[float] = []
    errors: Counter[str] = Counter()
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_ask_again, args=(settings, number, began + settings["seconds"], times, errors))
        for number in range(settings["clients"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Asked(times, dict(errors), time.perf_counter() - began)


def _ask_again(settings: Mapping[str, Any], number: int, end: float, times: list[float], errors: Counter[str]) -> None:
    """One client on one connection, which is opened anew after a failure."""
    bodies, headers = [base64.b64decode(body) for body in settings["bodies"]] or [b""], settings.get("headers", {})
    lengths = settings.get("tokens") or [None] * len(bodies)
    connection: http.client.HTTPConnection | None = None
    while time.perf_counter() < end:
        body, tokens = bodies[number % len(bodies)], lengths[number % len(bodies)]
        number += 1
        timeout = TIMEOUT_SECONDS if body else PING_TIMEOUT_SECONDS
        connection = connection or http.client.HTTPConnection("127.0.0.1", settings["port"], timeout=timeout)
        began = time.perf_counter()
        wait = 0.0 if body else PING_EVERY_SECONDS
        try:
            status, retry, content = _ask(connection, settings["path"], body, headers)
        except (OSError, http.client.HTTPException):
            connection.close()
            connection, status, retry, content = None, NO_ANSWER, 0.1, b""
        if status == OK and body and not _right(content, settings["listed"], tokens):
            status = WRONG
        if status == OK:
            times.append(time.perf_counter() - began)
        else:
            errors[status] += 1
            wait = max(wait, min(retry, MAX_RETRY_SECONDS))
        time.sleep(wait)
    if connection is not None:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[str, float, bytes]:
    connection.request("POST" if body else "GET", path, body or None, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    return str(answer.status), float(answer.headers.get("Retry-After") or 0.05), content


def _right(content: bytes, listed: bool, tokens: int | None) -> bool:
    try:
        document = json.loads(content)
        text = document[0] if listed else document["captions"][0]["text"]
    except (ValueError, LookupError, TypeError):
        return False
    return isinstance(text, str) and tokens in (None, len(text))


if __name__ == "__main__":
    found = run(json.load(sys.stdin))
    json.dump({"seconds": found.seconds, "errors": found.errors, "span": found.span}, sys.stdout)
