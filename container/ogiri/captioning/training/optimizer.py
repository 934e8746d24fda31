"""AdamW, and how its learning rate changes from step to step."""

from __future__ import annotations

import math

import torch

from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.model import Model


def build_optimizer(model: Model, hp: CaptionHyperparameters, device: torch.device) -> torch.optim.AdamW:
    """AdamW with decay on matrices only; a pretrained encoder learns at a hundredth of the rate."""
    groups = []
    for part in model.modules():
        rate = hp.learning_rate * (0.01 if isinstance(part, Encoder) and hp.finetune_encoder else 1.0)
        parameters = [p for p in part.parameters() if p.requires_grad]
        groups += [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": hp.weight_decay, "lr": rate},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0, "lr": rate},
        ]
    return torch.optim.AdamW(groups, lr=hp.learning_rate, betas=(0.9, 0.98), fused=device.type in ("cpu", "cuda"))


def build_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup_ratio: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then half a cosine down to 1 % of the peak."""
    warmup = max(1, round(steps * warmup_ratio))

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
