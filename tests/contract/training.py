"""The real `train`, seen from outside: a base folder, its channels, its exit status, its log, what it leaves."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

TRAIN = Path(__file__).parents[2] / "container" / "train"
TIMEOUT_SECONDS = 300

SMALL = {
    "encoder": "mobilenet_v3_small",
    "encoder_weights": "none",
    "image_size": "64",
    "decoder_width": "32",
    "vocabulary": "300",
    "epochs": "2",
    "batch_size": "16",
    "validation_fraction": "0.25",
}


@dataclass(frozen=True)
class Row:
    """One record, its picture drawn from a seed."""

    key: str
    line: str
    seed: int
    labels: tuple[str, ...] = ()
    text: str = ""

    def item(self) -> dict[str, Any]:
        """The attributes of a record in the table."""
        item: dict[str, Any] = {"ImageKey": self.key, "ExpectedResult": self.line}
        if self.labels:
            item["Labels"] = [{"Name": name, "Confidence": 99} for name in self.labels]
        if self.text:
            item["DetectedText"] = self.text
        return item


def drawn(seed: int) -> bytes:
    """A picture of four coloured shapes."""
    rng = random.Random(seed)
    image = Image.new("RGB", (96, 96), colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, side = rng.randrange(70), rng.randrange(70), rng.randrange(15, 45)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + side, y + side), fill=colour(rng))
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()


def colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


@dataclass(frozen=True)
class Ended:
    """A job that has ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Training:
    """A base folder, and the job that trains in it."""

    base: Path
    hyperparameters: Mapping[str, str] = dataclasses.field(default_factory=lambda: SMALL)

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output(self) -> Path:
        return self.base / "output" / "data"

    def channel(self, name: str) -> Path:
        folder = self.base / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def config(self, name: str, text: str) -> None:
        folder = self.base / "input" / "config"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")

    def draw(self, rows: Iterable[Row]) -> None:
        """The `training` channel."""
        for row in rows:
            (self.channel("training") / row.key).write_bytes(drawn(row.seed))

    def list(self, items: Iterable[Mapping[str, Any]]) -> None:
        """The `records` channel."""
        lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in items]
        (self.channel("records") / "rows.jsonl").write_text("".join(lines), encoding="utf-8")

    def start(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        others = ("PYTHON", "AWS_", "DYNAMODB_", "SAGEMAKER_", "TRAINING_", "MLFLOW_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        if not (self.base / "input" / "config" / "hyperparameters.json").exists():
            self.config("hyperparameters", json.dumps(self.hyperparameters))
        return subprocess.Popen(
            [sys.executable, str(TRAIN), "train"],
            env={**kept, "OMP_NUM_THREADS": "1", "SAGEMAKER_BASE_DIR": str(self.base), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd="/",
        )

    def run(self, environment: Mapping[str, str] | None = None) -> Ended:
        return self.end(self.start(environment))

    def end(self, process: subprocess.Popen[str]) -> Ended:
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        return Ended(process.returncode, out, err)

    def failure(self) -> str:
        """The first line of the failure file."""
        return (self.base / "output" / "failure").read_text(encoding="utf-8").splitlines()[0]
