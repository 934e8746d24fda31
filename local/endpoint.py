"""A model served here without SageMaker: model.tar.gz unpacked as it does, and the real `container/serve`."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.job import ROOT, container_environment
from local.process import running
from ogiri import artifact

START_SECONDS = 120.0
STOP_SECONDS = 30.0  # SageMaker's own patience
ANSWER_SECONDS = 60.0


class EndpointError(RuntimeError):
    """An answer that is not 200; the message has the status and the body."""


@dataclass(frozen=True)
class Endpoint:
    """A model that answers at `url`, within so many seconds."""

    url: str
    answer_seconds: float = ANSWER_SECONDS

    def invoke(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a JSON request.

        Raises:
            EndpointError: the model refused it, or did not answer.
        """
        body = json.dumps(request).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        call = urllib.request.Request(f"{self.url}/invocations", body, headers)  # noqa: S310  our own http URL
        try:
            with urllib.request.urlopen(call, timeout=self.answer_seconds) as answer:  # noqa: S310
                parsed: dict[str, Any] = json.load(answer)
                return parsed
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode("utf-8", errors="replace")
            raise EndpointError(f"/invocations answered {error.code}: {text}") from error
        except OSError as error:
            raise EndpointError(f"/invocations did not answer: {error}") from error


def unpack(archive: Path, base: Path) -> None:
    """Make a fresh /opt/ml with the archive's files in `model/`; whatever is there is removed."""
    shutil.rmtree(base, ignore_errors=True)
    artifact.unpack(archive, base / "model")


@contextlib.contextmanager
def serving(
    base: Path, environment: Mapping[str, str], log: Path, answer_seconds: float = ANSWER_SECONDS
) -> Iterator[Endpoint]:
    """Start `container/serve`, wait until /ping says 200, and end it with the block.

    Args:
        base: what /opt/ml is in the container, with `model/` in it.
        environment: of the process, without what is set here.
        log: file that gets its log.
        answer_seconds: how long one answer may take.

    Raises:
        ProcessError: it ended, or did not become healthy in time.
    """
    port = _free_port()
    endpoint = Endpoint(f"http://127.0.0.1:{port}", answer_seconds)
    child = {**container_environment(environment, base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with running(
        [ROOT / "container" / "serve", "serve"],
        log=log,
        ready=lambda: endpoint if _healthy(endpoint) else None,
        environment=child,
        start_seconds=START_SECONDS,
        stop_seconds=STOP_SECONDS,
    ) as started:
        yield started


def _healthy(endpoint: Endpoint) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint.url}/ping", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
