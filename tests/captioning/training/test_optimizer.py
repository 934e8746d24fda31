from pathlib import Path

import pytest
import torch
from torch import nn

from ogiri.captioning.training.optimizer import build_optimizer, build_schedule
from tests.captioning.training.small import Job, hyperparameters, pixels

CPU = torch.device("cpu")


def rates(steps: int, warmup_ratio: float) -> list[float]:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule, found = build_schedule(optimizer, steps, warmup_ratio), []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_the_learning_rate_rises_then_falls_like_a_cosine():
    found = rates(100, 0.1)
    assert found[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert found[10] == pytest.approx(2.0)
    assert found[55] == pytest.approx((2.0 + 0.02) / 2)  # half way down
    assert found[99] == pytest.approx(0.02, rel=0.05)
    assert found[10:] == sorted(found[10:], reverse=True)


@pytest.mark.parametrize(("warmup_ratio", "peak"), [(0.0, 0), (1.0, 99), (0.5, 49)])
def test_the_peak_comes_at_the_end_of_the_warm_up(warmup_ratio: float, peak: int):
    found = rates(100, warmup_ratio)
    assert found.index(max(found)) == peak
    assert max(found) == pytest.approx(2.0)
    assert all(rate > 0 for rate in found)


def test_only_matrices_decay(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(weight_decay=0.5), pixels(), "mobilenet_v3_small")
    model = job.model()
    groups = build_optimizer(model, job.hp, CPU, job.hp.learning_rate).param_groups
    for group in groups:
        assert all((p.dim() > 1) == (group["weight_decay"] == 0.5) for p in group["params"])
    assert {g["lr"] for g in groups} == {job.hp.learning_rate}
    assert sum(len(g["params"]) for g in groups) == sum(len(list(part.parameters())) for part in model.modules())


def test_pretrained_weights_learn_at_a_hundredth_of_the_rate(tmp_path: Path):
    hp = hyperparameters(finetune_encoder=True)
    model = Job(tmp_path, hp, pixels(), "mobilenet_v3_small").model()
    rate = {id(p): group["lr"] for group in build_optimizer(model, hp, CPU, 0.01).param_groups for p in group["params"]}
    assert {rate[id(p)] for p in model.decoder.parameters()} == {hp.learning_rate}
    assert {rate[id(p)] for p in model.encoder.parameters()} == {0.01 * hp.learning_rate}
