"""A job that learns 44 lines by heart in seconds: what it writes afterwards is known word for word.

The encoder is frozen, as it is by default. Its weights are random, which is enough to tell drawn pictures apart.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.contract.training import SMALL, Row, Training, drawn

ENCODER, SIZE = "mobilenet_v3_small", 64
HYPERPARAMETERS = {
    **SMALL,
    "encoder_weights": "pretrained",
    "decoder_width": "256",
    "vocabulary": "400",
    "epochs": "100",
    "learning_rate": "0.003",
    "validation_fraction": "0",
    "weight_decay": "0",
    "dropout": "0",
    "condition_dropout": "0",
    "label_smoothing": "0",
}

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


def train(base: Path) -> Training:
    """Train in `base`, which `serve` can then be started for."""
    job = Training(base, HYPERPARAMETERS)
    rows = [*PICTURES, *LABELS, *TEXTS]
    job.draw(rows)
    job.list(row.item() for row in rows)
    save_weights(job.channel("pretrained") / "torchvision" / f"{ENCODER}.safetensors", [row.seed for row in rows])
    ended = job.run()
    assert ended.status == 0, ended.err
    return job


def save_weights(file: Path, seeds: list[int]) -> None:
    """Random weights with the batch statistics of these pictures, so that the map is of the usual size."""
    import numpy as np
    import safetensors.torch
    import torch

    from ogiri import picture
    from ogiri.captioning.model.encoder import build_network

    torch.manual_seed(0)
    network = build_network(ENCODER).train()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the average over all that is seen, here one batch
    pixels = np.stack([picture.load(drawn(seed), SIZE) for seed in seeds])
    with torch.no_grad():
        network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    file.parent.mkdir(parents=True)
    safetensors.torch.save_file(network.state_dict(), file)
