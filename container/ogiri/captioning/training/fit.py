"""The training loop: stages of epochs, what is best so far, an early stop, checkpoints."""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ogiri.captioning.training.checkpoint import Checkpoints
from ogiri.captioning.training.epoch import cross_entropy_epoch
from ogiri.captioning.training.fitting import Fitting, Progress, Stopped
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.optimizer import build_optimizer, build_schedule, hold_language_model
from ogiri.captioning.training.ranks import Ranks
from ogiri.captioning.training.scst import SelfCritical, picture_batches
from ogiri.captioning.training.stage import Stage
from ogiri.captioning.training.validation import settle, validate

CHECKPOINT_EVERY_SECONDS = 20.0  # between two epochs; `walk` writes some within one
CROSS_ENTROPY, SELF_CRITICAL = 0, 1

Save = Callable[[], None]
Epoch = Callable[[Model, Fitting, Progress, Stage, Save], dict[str, float]]

log = logging.getLogger(__name__)


def fit(model: Model, work: Fitting) -> Progress:
    """Train `model` in place, and leave the best validated weights in it (the last ones if none was validated)."""
    for part in model.modules():
        part.to(work.device)
    progress = Progress()
    checkpoints = Checkpoints(work.checkpoint, work.fingerprint, work.job_name)
    saved = _spread(checkpoints.load() if work.ranks.leads else None, work.ranks)
    work.ranks.spread_tensors(value for part in model.modules() for value in part.state_dict().values())
    if saved is not None:
        model.load_state_dict(saved["model"])
        progress = Progress(**saved["progress"])
        log.info("going on from the checkpoint %s", _where(progress))
    while True:
        stage = _build_stage(model, work, progress)
        if saved is not None:
            stage.load_state_dict(saved["stage"])
            saved = None
        save = partial(_save, checkpoints, model, stage, progress) if work.ranks.leads else _leave_to_the_first
        _run_stage(model, work, progress, stage, save)
        if progress.stage == SELF_CRITICAL or not work.hyperparameters.scst_epochs or work.stopping():
            break
        _begin_self_critical(model, progress)
    if progress.best_weights:
        model.load_state_dict(progress.best_weights)
    model.train(False)
    return progress


def _run_stage(model: Model, work: Fitting, progress: Progress, stage: Stage, save: Save) -> None:
    hp = work.hyperparameters
    run_epoch: Epoch = cross_entropy_epoch
    last, figure = hp.epochs, hp.select_by
    if progress.stage == SELF_CRITICAL:
        last, figure = progress.stage_began + hp.scst_epochs, "cider"
        longest = int(work.train.lines.lengths.max()) + 1
        run_epoch = SelfCritical(work.train_references, work.tokenizer, hp.counted, longest).epoch
    saved_at, saved_epoch = time.monotonic(), progress.epoch
    work.ranks.any(False)
    while progress.epoch < last and not work.stopping() and not _ran_out_of_patience(progress, hp.patience):
        try:
            metrics = run_epoch(model, work, progress, stage, save)
        except Stopped:
            log.info("asked to end in epoch %d: keeping what is best so far", progress.epoch + 1)
            saved_epoch = progress.epoch  # the checkpoint is written, with this epoch's weights as they were
            break
        progress.epoch += 1
        if len(work.validation) > 0:
            log.info("epoch %d: validating with %d lines", progress.epoch, len(work.validation))
            with stage.average.applied():
                settle(model, work)
                metrics = work.ranks.spread_json(metrics | validate(model, work))
                _keep_best(model, progress, metrics, figure)
        progress.history.append({"epoch": progress.epoch, **metrics})
        work.report_metrics(progress.history[-1])
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_SECONDS:
            save()
            saved_at, saved_epoch = time.monotonic(), progress.epoch
        work.ranks.any(False)  # so that all of them see the same `stopping`
    if not progress.best_weights:
        settle(model, work)
    if progress.epoch > saved_epoch:
        save()


def _build_stage(model: Model, work: Fitting, progress: Progress) -> Stage:
    hp = work.hyperparameters
    hold_language_model(model, still=False)  # optimizer and average know all weights, whichever learn at first
    if progress.stage == SELF_CRITICAL:
        steps = hp.scst_epochs * len(picture_batches(len(work.train.rows), hp.batch_size))
        optimizer = build_optimizer(model, hp, work.device, hp.scst_learning_rate)
        schedule = build_schedule(optimizer, steps, hp.warmup_ratio)
    else:
        steps = math.ceil(len(work.train) / hp.batch_size)
        optimizer = build_optimizer(model, hp, work.device, hp.learning_rate)
        schedule = build_schedule(optimizer, steps * hp.epochs, hp.warmup_ratio, steps * hp.frozen_epochs)
    return Stage(model, optimizer, schedule, hp.average_decay, hp.clip_norm, work.ranks)


def _begin_self_critical(model: Model, progress: Progress) -> None:
    """Go on from the best weights, which only a better CIDEr can replace."""
    log.info("self-critical training from the weights of epoch %d", progress.best_epoch or progress.epoch)
    if progress.best_weights:
        model.load_state_dict(progress.best_weights)
        progress.best = progress.history[progress.best_epoch - 1]["validation_cider"]
    progress.stage, progress.stage_began = SELF_CRITICAL, progress.epoch


def _save(checkpoints: Checkpoints, model: Model, stage: Stage, progress: Progress) -> None:
    checkpoints.save({"model": model.state_dict(), "stage": stage.state_dict(), "progress": vars(progress)})


def _leave_to_the_first() -> None:
    """The process that leads writes the checkpoint."""


def _spread(saved: dict[str, Any] | None, ranks: Ranks) -> dict[str, Any] | None:
    """What the process that leads has read, in all of them."""
    if ranks.world == 1:
        return saved
    file = io.BytesIO()
    if saved is not None:
        torch.save(saved, file)
    sent = ranks.spread(file.getvalue())
    if ranks.leads or not sent:
        return saved
    values: dict[str, Any] = torch.load(io.BytesIO(sent), map_location="cpu", weights_only=True)
    return values


def _where(progress: Progress) -> str:
    if not progress.within:
        return f"after epoch {progress.epoch}"
    return f"in epoch {progress.epoch + 1}, after {progress.within['batches']} of its batches"


def _keep_best(model: Model, progress: Progress, metrics: dict[str, float], select_by: str) -> None:
    figure = -metrics["validation_loss"] if select_by == "loss" else metrics[f"validation_{select_by}"]
    if figure > progress.best:
        progress.best, progress.best_epoch, progress.best_weights = figure, progress.epoch, model.state_dict()


def _ran_out_of_patience(progress: Progress, patience: int) -> bool:
    waited = progress.epoch - max(progress.best_epoch, progress.stage_began)
    over = patience > 0 and bool(progress.best_weights) and waited >= patience
    if over:
        log.info("no better validation for %d epochs: ending after epoch %d", waited, progress.epoch)
    return over
