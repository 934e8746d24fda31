"""One epoch of cross-entropy: every line once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ogiri.captioning.training.examples import IGNORED, batch_order, collate, picture_order, token_frequencies
from ogiri.captioning.training.fitting import Fitting, Progress
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.optimizer import hold_language_model
from ogiri.captioning.training.precision import autocast
from ogiri.captioning.training.stage import Stage
from ogiri.captioning.training.walk import Dice, Mean, walk

PROFILED_STEPS = 10

log = logging.getLogger(__name__)


def cross_entropy_epoch(
    model: Model, work: Fitting, progress: Progress, stage: Stage, save: Callable[[], None]
) -> dict[str, float]:
    """Take every line once, in batches; what a checkpoint within the epoch has seen is not taken again.

    Returns:
        `train_loss` in nats a token, smoothing and weights included, and `tokens_per_second`.

    Raises:
        Stopped: the job is asked to end.
        FloatingPointError: the loss is no number any more.
    """
    hp, tokenizer, device = work.hyperparameters, work.tokenizer, work.device
    rng = np.random.default_rng([hp.seed, progress.epoch])
    torch.manual_seed(int(rng.integers(2**62)))  # dropout: the same whether the job was restarted or not
    generator = torch.Generator().manual_seed(int(rng.integers(2**62))) if hp.augmentation else None
    if model.encoder is None:
        order = batch_order(work.train.lines.lengths, hp.batch_size, rng)
    else:
        order = picture_order(work.train.picture_of, hp.batch_size, rng)
    frequencies = torch.from_numpy(token_frequencies(work.train, tokenizer.vocabulary, tokenizer.eos)).to(device)
    model.train(True)
    hold_language_model(model, still=progress.epoch < hp.frozen_epochs)
    mean, dice = Mean("train_loss"), Dice(rng, device, generator)
    with _traced(work.trace if progress.steps == 0 else None) as traced:
        for lines in walk(order, work, progress, mean, dice, save):
            batch = collate(work.train, lines, tokenizer.bos, tokenizer.eos, rng, hp.condition_dropout)
            with autocast(hp.precision, device):
                logits = model.decoder(model.prefix(batch, device, generator, hp.mirror), batch.tokens.to(device))
                targets, weights = batch.targets.to(device), batch.weights.to(device)
                loss = smoothed_loss(logits, targets, weights, hp.label_smoothing, frequencies)
            stage.step(loss)
            progress.steps += 1
            mean.add(loss.item(), int((batch.targets != IGNORED).sum()))
            next(traced, None)
    return {"train_loss": mean.value, "tokens_per_second": mean.per_second, "epoch_seconds": mean.seconds}


def smoothed_loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float, frequencies: Tensor) -> Tensor:
    """Cross-entropy, a share of it with the frequency of tokens (Pereyra et al. 2017, arXiv:1701.06548).

    Spread evenly, as usual, the share would teach the 256 byte pieces that hardly any line needs.
    """
    known = targets != IGNORED
    log_probability = functional.log_softmax(logits[known].float(), -1)
    right = log_probability.gather(-1, targets[known][:, None])[:, 0]
    if smoothing:
        right = (1 - smoothing) * right + smoothing * (log_probability @ frequencies)
    weight = weights[:, None].expand_as(targets)[known]
    return -(right * weight).sum() / weight.sum()


@contextmanager
def _traced(trace: Path | None) -> Iterator[Iterator[None]]:
    """Profile the first steps; the block takes one item a step."""
    steps = _profile(trace) if trace is not None else iter(())
    next(steps, None)
    yield steps
    for _ in steps:  # an epoch of fewer steps
        pass


def _profile(trace: Path) -> Iterator[None]:
    profiler = torch.profiler.profile()
    profiler.start()
    for _ in range(PROFILED_STEPS):
        yield
    profiler.stop()
    profiler.export_chrome_trace(str(trace))
    log.info("trace of the first steps in %s:\n%s", trace, profiler.key_averages().table("self_cpu_time_total", 10))
