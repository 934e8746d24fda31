"""The servers that are compared: how each is started, asked, and looked at from outside."""

from __future__ import annotations

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
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.serving.peers import opened
from benchmarks.serving.process import below, proportional_bytes
from benchmarks.serving.requested import JSON_HEADERS
from ogiri.machine import available_processors

PEERS = ROOT / "build" / "peers"
START_SECONDS = 300
STOP_SECONDS = 40
POLL_SECONDS = 0.005
SHOWN_BYTES = 2000  # of the output of one that failed
OURS = "ogiri"


@dataclass(frozen=True)
class Contender:
    """A server that answers pictures with lines.

    Attributes:
        name: in tables.
        python: of its environment.
        arguments: behind it; `{port}` is filled in.
        model: `onnx` or `torch`, what a peer loads.
        threads: of a running model; 0 = all processors.
        ping: the path that tells whether it is ready.
        listed: a request is a list of one document under `requests`, and its answer a list of lines.
        needs: a program that it starts, beside its Python.
    """

    name: str
    python: Path
    arguments: tuple[str, ...]
    model: str = opened.ONNX
    threads: int = 0
    ping: str = "/ping"
    listed: bool = False
    needs: str | None = None

    @property
    def installed(self) -> bool:
        """Whether its environment is there, and what it needs."""
        return self.python.exists() and (self.needs is None or shutil.which(self.needs) is not None)

    def body(self, document: Mapping[str, Any]) -> bytes:
        """A request's body."""
        return json.dumps({"requests": [document]} if self.listed else document).encode()

    def text(self, answer: bytes) -> str:
        """The line in an answer."""
        document = json.loads(answer)
        text: str = document[0] if self.listed else document["captions"][0]["text"]
        return text


def _peer(name: str, server: Sequence[str], environment: str, **options: Any) -> list[Contender]:
    python = PEERS / environment / "bin" / "python"
    return [
        Contender(f"{name} {model}", python, tuple(server), model, **options) for model in (opened.ONNX, opened.TORCH)
    ]


_PROCESSORS = available_processors()

CONTENDERS = {
    each.name: each
    for each in (
        Contender(OURS, Path(sys.executable), (str(ROOT / "container" / "serve"),)),
        *_peer("litserve", ["-m", "benchmarks.serving.peers.litserve_server"], "litserve"),
        *_peer(
            "bentoml",
            ["-m", "bentoml", "serve", "benchmarks.serving.peers.bentoml_service:Captions", "--port", "{port}"],
            "bentoml",
            ping="/readyz",
            listed=True,
        ),
        *_peer("torchserve", ["-m", "benchmarks.serving.peers.torchserve_server"], "torchserve", needs="java"),
        Contender(
            "flask torch",
            Path(sys.executable),
            (
                *("-m", "gunicorn", "--workers", str(_PROCESSORS), "--timeout", str(opened.TIMEOUT_SECONDS)),
                *("--bind", "127.0.0.1:{port}", "benchmarks.serving.peers.flask_server:app"),
            ),
            opened.TORCH,
            threads=1,
        ),
    )
}


@dataclass(frozen=True)
class Running:
    """A started server.

    Attributes:
        contender: what it is.
        process: its first process.
        port: where it listens.
        seconds: from its exec to the first 200 of its ping.
    """

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    seconds: float

    def ask(self, document: Mapping[str, Any]) -> str:
        """The line for a request.

        Raises:
            RuntimeError: it answered with an error.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=opened.TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/invocations", self.contender.body(document), JSON_HEADERS)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{self.contender.name} answered {answer.status}: {content[:500]!r}")
        return self.contender.text(content)

    def resident_bytes(self) -> int:
        """Memory of all its processes, what they share counted once (PSS)."""
        return sum(proportional_bytes(each) for each in self.processes())

    def processes(self) -> list[int]:
        """All of its processes."""
        return below(self.process.pid)


@contextmanager
def started(contender: Contender, base: Path, shape: str) -> Iterator[Running]:
    """The server on `base/model` (or `base/weights`), ready.

    Args:
        contender: what to start.
        base: folder of the artifact.
        shape: its name, for the peers that build it in torch.

    Raises:
        RuntimeError: it ended, or was not ready in time; the message has the end of its output.
    """
    port = _free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "container")]),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "BENTOML_DO_NOT_TRACK": "true",
        opened.BASE: str(base),
        opened.MODEL: contender.model,
        opened.SHAPE: shape,
        opened.PORT: str(port),
        opened.THREADS: str(contender.threads or _PROCESSORS),
    }
    environment.pop("OMP_NUM_THREADS", None)
    command = [str(contender.python), *(part.format(port=port) for part in contender.arguments)]
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            if not _is_ready(process, f"http://127.0.0.1:{port}{contender.ping}", began + START_SECONDS):
                size = out.seek(0, os.SEEK_END)
                out.seek(max(0, size - SHOWN_BYTES))
                raise RuntimeError(
                    f"{contender.name} was not ready within {START_SECONDS} s, its exit status is {process.poll()}: "
                    f"{out.read().decode(errors='replace')}"
                )
            yield Running(contender, process, port, time.monotonic() - began)
        finally:
            _stop(process)


def _is_ready(process: subprocess.Popen[bytes], ping: str, deadline: float) -> bool:
    """Wait until it is, or has ended."""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(ping, timeout=2) as answer:
                if answer.status == http.HTTPStatus.OK:
                    return True
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_SECONDS)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it with all it has started, which is a session of its own."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
