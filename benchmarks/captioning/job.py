"""A real training job and the real server on what it made: `container/train`, then `container/serve` and HTTP."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.process import running

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 2
PORT = 18080
TIMEOUT_SECONDS = 120


def lay_out(
    base: Path,
    images: Path,
    pretrained: Path | None,
    items: Iterable[Mapping[str, Any]],
    hyperparameters: Mapping[str, str],
) -> None:
    """A base folder as SageMaker lays it out.

    Args:
        base: emptied first.
        images: folder of the `training` channel.
        pretrained: folder of the `pretrained` channel.
        items: records in DynamoDB's attributes, for the `records` channel.
        hyperparameters: strings, as SageMaker gives them.
    """
    shutil.rmtree(base, ignore_errors=True)
    for part in ("input/config", "input/data/records"):
        (base / part).mkdir(parents=True)
    (base / "input/data/training").symlink_to(images.resolve())
    if pretrained is not None:
        (base / "input/data/pretrained").symlink_to(pretrained.resolve())
    (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    with (base / "input/data/records/train.jsonl").open("w", encoding="utf-8") as file:
        for item in items:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")


def go_on(base: Path, hyperparameters: Mapping[str, str]) -> None:
    """Let the next job in a folder that was laid out begin where the last one ended: `scst_epochs` may have grown.

    Raises:
        FileNotFoundError: no job has left a checkpoint there.
    """
    if not any((base / "checkpoints").glob("*.pt")):
        raise FileNotFoundError(f"{base / 'checkpoints'} has no checkpoint to go on from")
    for made in ("model", "output"):
        shutil.rmtree(base / made, ignore_errors=True)
    (base / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))


def train(base: Path) -> float:
    """Run container/train; seconds from its start to its end."""
    began = time.monotonic()
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": base.name}
    subprocess.run([sys.executable, ROOT / "container" / "train"], env=environment, check=True)
    return time.monotonic() - began


@dataclass(frozen=True)
class Server:
    """A running `container/serve`."""

    address: str

    def captions(self, requests: Sequence[Mapping[str, Any]]) -> tuple[list[list[dict[str, Any]]], float]:
        """The captions of each request, and the milliseconds that one took on the average."""
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(self._captions, requests))
        return answers, (time.monotonic() - began) * 1000 / max(1, len(requests))

    def _captions(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        body = json.dumps(request).encode()
        ask = urllib.request.Request(f"{self.address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(ask, timeout=TIMEOUT_SECONDS) as answer:
            captions: list[dict[str, Any]] = json.load(answer)["captions"]
        return captions


@contextmanager
def served(base: Path) -> Iterator[Server]:
    """Serve the artifact below `base` as long as the block runs."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(PORT)}
    address = f"http://127.0.0.1:{PORT}"

    def ready() -> bool | None:
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=2) as answer:
                return True if answer.status == 200 else None
        except OSError:
            return None

    command = [sys.executable, str(ROOT / "container" / "serve")]
    with running(command, log=base / "serve.log", ready=ready, environment=environment):
        yield Server(address)


def encoded(picture: Path) -> str:
    """A picture as requests carry it."""
    return base64.b64encode(picture.read_bytes()).decode()
