"""The training loop: AdamW, warm-up and cosine, clipping, label smoothing, early stop, a checkpoint an epoch."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ogiri.captioning.model.decoder import greedy
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.average import Average
from ogiri.captioning.training.checkpoint import load_checkpoint, save_checkpoint
from ogiri.captioning.training.examples import (
    IGNORED,
    Batch,
    Examples,
    as_prefix,
    batch_order,
    collate,
    picture_order,
    sequential,
    token_frequencies,
)
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.metrics import caption_scores
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.optimizer import build_optimizer, build_schedule
from ogiri.captioning.training.precision import autocast

PREVIEW_PICTURES = 256  # held-out pictures that a line is generated for after each epoch
LOG_EVERY_SECONDS = 30.0
CHECKPOINT_EVERY_SECONDS = 20.0
PROFILED_STEPS = 10
SETTLE_PICTURES, SETTLE_BATCH = 1024, 64

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where training stands; all of it is in the checkpoint.

    Attributes:
        epoch: epochs done.
        steps: updates of the weights done.
        history: metrics of each epoch.
        best: the best validation figure, higher is better.
        best_epoch: when it was seen.
        best_weights: as `Model.state_dict`; empty until something was validated.
    """

    epoch: int = 0
    steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitting:
    """What `fit` needs beside the model.

    Attributes:
        train, validation: lines with their pictures; `validation` may be empty.
        references: the lines of each validation picture, for BLEU and CIDEr.
        tokenizer: of the lines.
        hyperparameters: of the job.
        device: where to compute.
        checkpoint: the file that training goes on from.
        fingerprint: of data and hyperparameters; a checkpoint of another is not used.
        stopping: true once the job is asked to end.
        report_metrics: takes the metrics of an epoch.
        trace: file for a trace of the first steps, None for no trace.
    """

    train: Examples
    validation: Examples
    references: list[list[str]]
    tokenizer: Tokenizer
    hyperparameters: CaptionHyperparameters
    device: torch.device
    checkpoint: Path
    fingerprint: str
    stopping: Callable[[], bool]
    report_metrics: Callable[[Mapping[str, float]], None]
    trace: Path | None = None


class Stopped(Exception):
    """The job was asked to end in the middle of an epoch."""


def fit(model: Model, work: Fitting) -> Progress:
    """Train `model` in place, and leave the best validated weights in it (the last ones if none was validated)."""
    hp = work.hyperparameters
    for part in model.modules():
        part.to(work.device)
    steps_per_epoch = math.ceil(len(work.train) / hp.batch_size)
    optimizer = build_optimizer(model, hp, work.device)
    schedule = build_schedule(optimizer, steps_per_epoch * hp.epochs, hp.warmup_ratio)
    average, progress = Average(model.modules(), hp.average_decay), Progress()
    saved = load_checkpoint(work.checkpoint, work.fingerprint)
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        average.load_state_dict(saved["average"])
        progress = Progress(**saved["progress"])
        log.info("going on from the checkpoint after epoch %d", progress.epoch)
    saved_at, saved_epoch = time.monotonic(), progress.epoch
    while progress.epoch < hp.epochs and not work.stopping() and not _ran_out_of_patience(progress, work):
        try:
            metrics = _train_epoch(model, work, progress, optimizer, schedule, average)
        except Stopped:
            log.info("asked to end in epoch %d: keeping what is best so far", progress.epoch + 1)
            saved_epoch = progress.epoch  # the weights are no longer those of its end
            break
        progress.epoch += 1
        if len(work.validation) > 0:
            with average.applied():
                settle(model, work)
                metrics |= validate(model, work)
                _keep_best(model, progress, metrics, hp)
        progress.history.append({"epoch": progress.epoch, **metrics})
        work.report_metrics(progress.history[-1])
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_SECONDS:
            _save(model, work, optimizer, schedule, average, progress)
            saved_at, saved_epoch = time.monotonic(), progress.epoch
    if not progress.best_weights:
        settle(model, work)
    if progress.epoch > saved_epoch:
        _save(model, work, optimizer, schedule, average, progress)
    if progress.best_weights:
        model.load_state_dict(progress.best_weights)
    model.train(False)
    return progress


def settle(model: Model, work: Fitting) -> None:
    """Give an encoder that is trained from scratch the batch statistics of its present weights."""
    if model.encoder is None:
        return
    pictures = np.unique(np.linspace(0, len(work.train.rows) - 1, SETTLE_PICTURES).astype(np.int64))
    parts = np.array_split(pictures, math.ceil(len(pictures) / SETTLE_BATCH))
    model.encoder.settle(work.train.picture_batch(part).to(work.device) for part in parts)


def _train_epoch(
    model: Model,
    work: Fitting,
    progress: Progress,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: Average,
) -> dict[str, float]:
    hp, tokenizer, epoch = work.hyperparameters, work.tokenizer, progress.epoch
    rng = np.random.default_rng([hp.seed, epoch])
    torch.manual_seed(int(rng.integers(2**62)))  # dropout: the same whether the job was restarted or not
    generator = torch.Generator().manual_seed(int(rng.integers(2**62))) if hp.augmentation else None
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    total, count, began, logged = 0.0, 0, time.monotonic(), time.monotonic()
    if model.encoder is None:
        batches = batch_order(np.array([len(line) for line in work.train.lines]), hp.batch_size, rng)
    else:
        batches = picture_order(work.train.picture_of, hp.batch_size, rng)
    frequencies = torch.from_numpy(token_frequencies(work.train, tokenizer.vocabulary, tokenizer.eos)).to(work.device)
    model.train(True)
    bar = tqdm(batches, f"epoch {epoch + 1}/{hp.epochs}", leave=False, disable=not sys.stderr.isatty(), unit="batch")
    profiler = _profiler(work.trace if progress.steps == 0 else None)
    for done, lines in enumerate(bar, 1):
        batch = collate(work.train, lines, tokenizer.bos, tokenizer.eos, rng, hp.condition_dropout)
        with autocast(hp.precision, work.device):
            logits = model.decoder(model.prefix(batch, work.device, generator), batch.tokens.to(work.device))
            targets, weights = batch.targets.to(work.device), batch.weights.to(work.device)
            loss = _loss(logits, targets, weights, hp.label_smoothing, frequencies)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, hp.clip_norm)
        optimizer.step()
        schedule.step()
        average.update()
        progress.steps += 1
        if profiler is not None and done == min(PROFILED_STEPS, len(batches)):
            _write_trace(profiler, work.trace)
            profiler = None
        tokens = int((batch.targets != IGNORED).sum())
        total, count = total + loss.item() * tokens, count + tokens
        if not math.isfinite(total):
            raise FloatingPointError(f"the training loss is {total} in epoch {epoch + 1}: try a lower learning_rate")
        if bar.disable and time.monotonic() - logged > LOG_EVERY_SECONDS:
            logged = time.monotonic()
            log.info("epoch %d: %d of %d batches, loss %.4f", epoch + 1, done, len(batches), total / count)
        if work.stopping():
            raise Stopped
    seconds = time.monotonic() - began
    return {"train_loss": total / count, "tokens_per_second": count / seconds, "epoch_seconds": seconds}


@torch.no_grad()
def validate(model: Model, work: Fitting) -> dict[str, float]:
    """Loss in nats a token and a character over all held-out lines; BLEU, CIDEr and chrF over some pictures."""
    if len(work.validation) == 0:
        return {}
    hp, tokenizer = work.hyperparameters, work.tokenizer
    model.train(False)
    nats, tokens = 0.0, 0
    for lines in sequential(len(work.validation), hp.batch_size):
        batch = collate(work.validation, lines, tokenizer.bos, tokenizer.eos)
        with autocast(hp.precision, work.device):
            logits = model.decoder(model.prefix(batch, work.device), batch.tokens.to(work.device))
        targets = batch.targets.to(work.device)
        nats += functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum").item()
        tokens += int((targets != IGNORED).sum())
    pictures = min(PREVIEW_PICTURES, len(work.references))
    generated = [tokenizer.decode(line) for line in preview(model, work, pictures)]
    scores = caption_scores(generated, work.references[:pictures], _metric_tokens(hp))
    return {
        "validation_loss": nats / tokens,
        "validation_nats_per_character": nats / float(work.validation.characters.sum()),
        "validation_bleu": scores.bleu[3],
        "validation_cider": scores.cider,
        "validation_chrf": scores.chrf,
    }


@torch.no_grad()
def preview(model: Model, work: Fitting, pictures: int) -> list[list[int]]:
    """Greedy lines for the first held-out pictures."""
    hp, tokenizer, lines = work.hyperparameters, work.tokenizer, []
    for rows in sequential(pictures, 64):
        batch = Batch(
            pictures=work.validation.picture_batch(rows),
            row_picture=torch.arange(len(rows)),
            prefix=as_prefix([work.validation.conditions[row] for row in rows]),
            tokens=torch.zeros(0),
            targets=torch.zeros(0),
            weights=torch.zeros(0),
            lines=rows,
        )
        prefix = model.prefix(batch, work.device)
        lines += greedy(model.decoder, prefix, tokenizer.bos, tokenizer.eos, hp.max_length)
    return lines


def _profiler(trace: Path | None) -> torch.profiler.profile | None:
    if trace is None:
        return None
    profiler = torch.profiler.profile()
    profiler.start()
    return profiler


def _write_trace(profiler: torch.profiler.profile, trace: Path | None) -> None:
    profiler.stop()
    profiler.export_chrome_trace(str(trace))
    log.info("trace of the first steps in %s:\n%s", trace, profiler.key_averages().table("self_cpu_time_total", 10))


def _save(
    model: Model,
    work: Fitting,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: Average,
    progress: Progress,
) -> None:
    save_checkpoint(
        work.checkpoint,
        {
            "fingerprint": work.fingerprint,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "average": average.state_dict(),
            "progress": vars(progress),
        },
    )


def _loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float, frequencies: Tensor) -> Tensor:
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


def _keep_best(model: Model, progress: Progress, metrics: dict[str, float], hp: CaptionHyperparameters) -> None:
    if "validation_loss" not in metrics:
        return
    figure = -metrics["validation_loss"] if hp.select_by == "loss" else metrics[f"validation_{hp.select_by}"]
    if figure > progress.best:
        progress.best, progress.best_epoch, progress.best_weights = figure, progress.epoch, model.state_dict()


def _ran_out_of_patience(progress: Progress, work: Fitting) -> bool:
    patience = work.hyperparameters.patience
    waited = progress.epoch - progress.best_epoch
    over = patience > 0 and bool(progress.best_weights) and waited >= patience
    if over:
        log.info("no better validation for %d epochs: ending after epoch %d", waited, progress.epoch)
    return over


def _metric_tokens(hp: CaptionHyperparameters) -> Any:
    return hp.metric_tokens
