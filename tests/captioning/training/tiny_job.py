"""A job of ten drawn pictures, as the trainer gets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.task import TrainingContext
from tests.captioning.training.small import hyperparameters
from tests.contract.training import drawn

NAME = "mobilenet_v3_small"


def small(**values: Any) -> CaptionHyperparameters:
    common = {"encoder": NAME, "encoder_weights": "none", "image_size": 64, "epochs": 1, "export_weights": True}
    return hyperparameters(**{**common, **values})


def context(base: Path, hp: CaptionHyperparameters, **channels: Path) -> TrainingContext:
    """A job with ten pictures of two lines."""
    for name in ("training", "records", "model", "checkpoints", "output"):
        (base / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(10):
        (base / "training" / f"{n}.png").write_bytes(drawn(n))
        rows += [{"ImageKey": f"{n}.png", "ExpectedResult": f"{'犬猫鳥'[n % 3]}が{n}回笑う{end}"} for end in "！？"]
    (base / "records" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return TrainingContext(
        hyperparameters=hp,
        channels={"training": base / "training", "records": base / "records", **channels},
        model=base / "model",
        output=base / "output",
        checkpoints=base / "checkpoints",
        job_name=base.name,
        stopping=lambda: False,
        report_metrics=lambda metrics: None,
    )
