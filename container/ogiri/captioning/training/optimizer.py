"""AdamW, and how its learning rates change from step to step.

A pretrained language model is trained in two stages: at first it stays as it is, while what is new around it learns to
speak to it; then all of it learns, gently. Each stage has its own warm-up and cosine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.model import Model

# Of `learning_rate`; by default, which is 0.001, these are 1e-5, 2e-5, 1e-4 and 3e-4.
ENCODER_SHARE, LANGUAGE_MODEL_SHARE, MAPPER_SHARE, MAPPER_ALONE_SHARE = 0.01, 0.02, 0.1, 0.3
LOWEST = 0.01  # of the peak, where the cosine ends


def build_optimizer(
    model: Model, hp: CaptionHyperparameters, device: torch.device, learning_rate: float
) -> torch.optim.AdamW:
    """AdamW with decay on matrices only; what was pretrained learns at a small share of the rate."""
    pretrained = model.decoder.pretrained_parameters()
    known = {id(parameter) for parameter in pretrained}
    new = [parameter for parameter in model.decoder.parameters() if id(parameter) not in known]
    decay = hp.weight_decay
    groups = _groups(pretrained, decay, LANGUAGE_MODEL_SHARE * learning_rate, alone=0.0)
    if pretrained:
        groups += _groups(new, decay, MAPPER_SHARE * learning_rate, alone=MAPPER_ALONE_SHARE / MAPPER_SHARE)
    else:
        groups += _groups(new, decay, learning_rate)
    if model.encoder is not None:
        share = ENCODER_SHARE if hp.finetune_encoder else 1.0
        groups += _groups(list(model.encoder.parameters()), decay, share * learning_rate)
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=device.type in ("cpu", "cuda"))


def build_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup_ratio: float, frozen_steps: int = 0
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then half a cosine down to 1 % of the peak.

    Args:
        optimizer: its groups may say what their peak is multiplied by in the first stage, `alone`.
        steps: of the whole training.
        warmup_ratio: share of a stage's steps.
        frozen_steps: of the first stage; 0 = there is only one.
    """

    def scale(alone: float, step: int) -> float:
        if step < frozen_steps:
            return alone * _cycle(step, frozen_steps, warmup_ratio)
        return _cycle(step - frozen_steps, steps - frozen_steps, warmup_ratio)

    alone = [float(group.get("alone", 1.0)) for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, [partial(scale, each) for each in alone])


def hold_language_model(model: Model, still: bool) -> None:
    """Keep the weights of a pretrained language model as they are, or let them learn."""
    for parameter in model.decoder.pretrained_parameters():
        parameter.requires_grad_(not still)


def _groups(
    parameters: Sequence[nn.Parameter], weight_decay: float, rate: float, alone: float = 1.0
) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.requires_grad and p.dim() > 1]
    others = [p for p in parameters if p.requires_grad and p.dim() <= 1]
    both = ((matrices, weight_decay), (others, 0.0))
    return [{"params": some, "weight_decay": decay, "lr": rate, "alone": alone} for some, decay in both if some]


def _cycle(step: int, steps: int, warmup_ratio: float) -> float:
    warmup = max(1, round(steps * warmup_ratio))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
