"""The real `serve`, on a free port, seen from outside: HTTP, its log, its processes, its exit code."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ogiri.artifact import write_manifest

SERVE = Path(__file__).parents[2] / "container" / "serve"
SERVE_ECHO = Path(__file__).with_name("serve_echo.py")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def error(self) -> dict[str, str]:
        """What the body says went wrong, once it has the form that all errors have."""
        assert self.headers["Content-Type"] == "application/json"
        assert len(self.body) <= 2048
        (error,) = self.json().values()
        assert list(error) == ["code", "message", "request_id"]
        assert error["request_id"] == self.headers["X-Request-Id"]
        return error


@dataclass
class Server:
    """A running `serve`."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    temporary: Path
    _seen: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}), **options)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())

    def invoke(self, content: Any, **headers: str) -> Reply:
        """POST JSON; `accept="text/plain"` is the header Accept."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request(
            "POST", "/invocations", json.dumps(content).encode(), {"Content-Type": "application/json", **named}
        )

    def ping(self) -> int | None:
        """The status, None if nobody listens."""
        try:
            return self.request("GET", "/ping").status
        except OSError:
            return None

    def wait_for_ping(self, status: int | None) -> None:
        wait_until(lambda: self.ping() == status, f"/ping is {status}")

    def raw(self, request: bytes) -> bytes:
        """Everything that comes back for bytes that http.client would not send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def log(self) -> list[dict[str, Any]]:
        """The log, every line of which is a JSON object."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written
        assert all({"time", "level", "message"} <= entry.keys() for entry in entries)
        return entries

    def wait_for_log(self, text: str = "", **fields: Any) -> dict[str, Any]:
        """The first entry with `text` in its message and with these fields."""

        def found() -> list[dict[str, Any]]:
            return [entry for entry in self.log() if text in entry["message"] and fields.items() <= entry.items()]

        wait_until(found, f"{text!r} and {fields} are in the log")
        return found()[0]

    def descendants(self) -> dict[int, str]:
        """Process id → command line, without `serve` itself."""
        found: dict[int, str] = {}
        pending = [self.process.pid]
        while pending:
            for child in children(pending.pop()):
                found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").strip()
                pending.append(child)
        self._seen.extend(found)
        return found

    def nginx(self) -> int:
        return next(pid for pid, command in self.descendants().items() if command.startswith("nginx: master"))

    def gunicorn(self) -> int:
        return next(pid for pid in children(self.process.pid) if pid != self.nginx())

    def worker(self) -> int:
        wait_until(lambda: children(self.gunicorn()), "a worker")
        return children(self.gunicorn())[0]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        return self.process.wait(timeout=40)

    def left_over(self) -> list[int]:
        """Processes that outlived `serve`."""
        return [pid for pid in self._seen if state_and_parent(pid)[0] not in ("Z", "")]


def children(parent: int) -> list[int]:
    found = {int(folder.name): state_and_parent(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    return sorted(pid for pid, (state, its_parent) in found.items() if its_parent == parent and state != "Z")


def state_and_parent(pid: int) -> tuple[str, int]:
    """`Z` is a dead process that nobody has collected; an empty state is no process at all."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(parent)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_echo(base_dir: Path, **decoding: Any) -> Path:
    """An artifact of the task `echo` in `base_dir`."""
    model = base_dir / "model"
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"0123456789")
    write_manifest(model, {"task": "echo", "name": "echo", "decoding": decoding})
    return base_dir


class Starter:
    """Starts servers, and stops those that still run at the end."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._servers: list[Server] = []

    def __call__(
        self,
        base_dir: Path,
        environ: Mapping[str, str] | None = None,
        program: Path = SERVE_ECHO,
        prefix: Sequence[str] = (),
    ) -> Server:
        """Start `program` for a base folder; `prefix` is a command around it."""
        folder = self._folders.mktemp("serve", numbered=True)
        temporary = folder / "tmp"
        temporary.mkdir()
        port = free_port()
        variables = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(temporary),
            "SAGEMAKER_BASE_DIR": str(base_dir),
            "SAGEMAKER_BIND_TO_PORT": str(port),
            **(environ or {}),
        }
        with (folder / "log").open("wb") as log:
            command = [*prefix, sys.executable, str(program)]
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        self._servers.append(Server(process, port, folder / "log", temporary))
        return self._servers[-1]

    def echo(self, **environ: str) -> Server:
        """Start `serve` with the task `echo` and wait until it is ready: `echo(NAME_OF_A_VARIABLE="value")`."""
        server = self(write_echo(self._folders.mktemp("opt_ml")), environ)
        server.wait_for_ping(200)
        return server

    def stop(self) -> None:
        for server in self._servers:
            if server.process.poll() is None:
                server.process.terminate()
        for server in self._servers:
            server.exit_code()
