"""A job that learns 44 lines by heart in seconds, its encoder too: what it writes afterwards is known word for word."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from tests.contract.training import SMALL, Row, Training

HYPERPARAMETERS = {
    **SMALL,
    "augmentation": "false",
    "decoder_width": "128",
    "vocabulary": "400",
    "epochs": "40",
    "learning_rate": "0.003",
    "validation_fraction": "0",
    "weight_decay": "0",
    "dropout": "0",
    "condition_dropout": "0",
    "label_smoothing": "0",
}

GPT2 = {**HYPERPARAMETERS, "decoder": "gpt2", "decoder_layers": "2", "epochs": "60"}

_SUBJECTS = ["犬", "猫", "鳥", "魚", "社長", "部長", "布団", "電車", "寿司", "月", "海", "山", "財布", "宿題", "会議"]
_ENDS = ["が逃げた！", "を忘れた？", "と踊る", "に怒られた。", "は高い\nらしい", "も笑う🍣"]
LINES = random.Random(0).sample([subject + end for subject in _SUBJECTS for end in _ENDS], 44)

PICTURES = [Row(f"picture-{n}.png", LINES[n], n) for n in range(32)]
"""Each has its own picture and line, and nothing beside."""
LABELS = [
    Row(f"label-{n}.png", LINES[32 + n], 1000, labels=labels)
    for n, labels in enumerate([("Dog",), ("God",), ("Cat",), ("Act",), ("Tree", "Car"), ("Tree",)])
]
"""All have the same picture."""
TEXTS = [
    Row(f"text-{n}.png", LINES[38 + n], 2000, text=text)
    for n, text in enumerate(["止まれ", "本日休業", "業休日本", "大売出し", "SALE", ""])
]
"""All have the same picture, another one."""


def train(base: Path, hyperparameters: Mapping[str, str] = HYPERPARAMETERS) -> Training:
    """Train in `base`, which `serve` can then be started for."""
    job = Training(base, hyperparameters)
    rows = [*PICTURES, *LABELS, *TEXTS]
    job.draw(rows)
    job.list(row.item() for row in rows)
    ended = job.run()
    assert ended.status == 0, ended.err
    return job
