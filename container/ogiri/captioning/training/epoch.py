"""One epoch of cross-entropy: every line once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ogiri.captioning.training.examples import batch_order, collate, picture_order, token_frequencies
from ogiri.captioning.training.fitting import Fitting, Progress
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.optimizer import hold_language_model
from ogiri.captioning.training.precision import autocast
from ogiri.captioning.training.profile_summary import DATA, FORWARD, OPTIMIZER, REST
from ogiri.captioning.training.stage import Stage
from ogiri.captioning.training.walk import Dice, Mean, walk


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
    tokens = work.train.lines.lengths + 1  # of each line, its end counted
    model.train(True)
    hold_language_model(model, still=progress.epoch < hp.frozen_epochs)
    mean, dice = Mean("train_loss"), Dice(rng, device, generator)
    with work.profile.epoch(traced=progress.steps == 0) as step_done:
        for lines in walk(order, work, progress, mean, dice, save):
            work.profile.part(REST)
            own, loss = work.ranks.share(lines, together=model.encoder is not None), None
            if len(own):
                batch = collate(work.train, own, tokenizer.bos, tokenizer.eos, rng, hp.condition_dropout)
                work.profile.part(DATA)
                with autocast(hp.precision, device):
                    prefix = model.prefix(batch, device, generator, hp.mirror, hp.map_dropout)
                    places, targets, weights = (part.to(device) for part in batch.to_learn())
                    logits = model.decoder(prefix, batch.tokens.to(device), wanted=places)
                    loss = smoothed_loss(logits, targets, weights, hp.label_smoothing, frequencies)
                work.profile.part(FORWARD)
            value, _ = stage.step(loss, float((tokens[own] * work.train.weights[own]).sum()))
            work.profile.part(OPTIMIZER)
            progress.steps += 1
            mean.add(value.item(), int(tokens[lines].sum()))
            step_done()
    return {"train_loss": mean.value, "tokens_per_second": mean.per_second, "epoch_seconds": mean.seconds}


def smoothed_loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float, frequencies: Tensor) -> Tensor:
    """Cross-entropy, a share of it with the frequency of tokens (Pereyra et al. 2017, arXiv:1701.06548).

    Spread evenly, as usual, the share would teach the 256 byte pieces that hardly any line needs.

    Args:
        logits: (tokens, vocabulary).
        targets: (tokens,).
        weights: (tokens,) how much each counts.
        smoothing: the share.
        frequencies: (vocabulary,) adding up to 1.
    """
    log_probability = functional.log_softmax(logits.float(), -1)
    right = log_probability.gather(-1, targets[:, None])[:, 0]
    if smoothing:
        right = (1 - smoothing) * right + smoothing * (log_probability @ frequencies)
    return -(right * weights).sum() / weights.sum()
