"""A small training job as a process: its folders, its end, and what it left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from tests.contract.training import Row, Training

PICTURES = 60
SUBJECTS = ["犬", "猫", "社長", "部長", "電車", "寿司"]
ROWS = [
    Row(f"{n:02}.png", f"{SUBJECTS[n % 6]}{end}", n, (SUBJECTS[n % 6],) if n % 2 else ())
    for n in range(PICTURES)
    for end in ("が逃げた！", f"は{n}回笑う", "も踊る")
]
HYPERPARAMETERS = {
    "encoder": "mobilenet_v3_small",
    "encoder_weights": "none",
    "image_size": "64",
    "decoder_width": "64",
    "vocabulary": "300",
    "epochs": "12",
    "scst_epochs": "2",
    "batch_size": "8",
    "validation_fraction": "0.2",
    "patience": "0",
}
CHECKPOINT_SECONDS = 0.5
DEADLINE_SECONDS = 600.0
POLL_SECONDS = 0.01
JOB_NAME = "job-7"


@dataclass
class Job:
    """A base folder, and one process after the other that trains in it.

    Attributes:
        base: what /opt/ml is in the container.
        hyperparameters: beside `HYPERPARAMETERS`.
        environment: of the process, beside this one's.
        checkpoint_seconds: between two checkpoints.
        logs: of the processes so far.
    """

    base: Path
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    logs: list[Path] = field(default_factory=list)

    def lay_out(self, records: bool = True) -> None:
        """Channels and hyperparameters; without `records` the job reads the table."""
        folders = Training(self.base)
        folders.config("hyperparameters", json.dumps({**HYPERPARAMETERS, **self.hyperparameters}))
        folders.draw(ROWS)
        if records:
            folders.list(row.item() for row in ROWS)

    def start(self, limit: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        """Begin; `limit` is called in the new process before anything else."""
        self.logs.append(self.base / f"{len(self.logs)}.log")
        own = {"SAGEMAKER_BASE_DIR": str(self.base), "TRAINING_JOB_NAME": JOB_NAME, "OMP_NUM_THREADS": "1"}
        own |= {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
        with self.logs[-1].open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.training.often", str(self.checkpoint_seconds)],
                cwd=ROOT,
                env={**os.environ, **own, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=limit,
            )

    def run(self) -> int:
        """To its end; the exit code."""
        return self.start().wait(DEADLINE_SECONDS)

    def wait(self, process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
        """Until something is so.

        Raises:
            RuntimeError: the process ended before.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the job ended with {process.poll()} before that:\n{self.log()}")
            time.sleep(POLL_SECONDS)

    def stands(self) -> dict[str, Any]:
        """The marker of a running job: its part and its epoch; nothing where there is none."""
        try:
            found: dict[str, Any] = json.loads((self.base / "checkpoints" / "running.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def log(self) -> str:
        """Of the last process."""
        return self.logs[-1].read_text(encoding="utf-8", errors="replace")

    def said(self, *words: str) -> str:
        """The last line of the log that has one of these words, without its time and source; empty where none has."""
        lines = [line for line in self.log().splitlines() if any(word in line for word in words)]
        return lines[-1].partition(": ")[2] if lines else ""

    def failure(self) -> str:
        """The first line of the failure file; empty where there is none."""
        path = self.base / "output" / "failure"
        return path.read_text(encoding="utf-8").splitlines()[0] if path.is_file() else ""

    def left(self) -> dict[str, str]:
        """File of the artifact and of the training weights → its SHA-256; without what holds times."""
        folders = [self.base / "model", self.base / "output" / "data" / "weights"]
        files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
        kept = [path for path in files if path.suffix in (".safetensors", ".onnx", ".model")]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}

    def history(self) -> list[dict[str, float]]:
        """The figures of every epoch, without times."""
        report = json.loads((self.base / "output" / "data" / "metrics.json").read_text(encoding="utf-8"))
        return [{name: value for name, value in epoch.items() if "second" not in name} for epoch in report["history"]]
