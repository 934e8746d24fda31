"""A stretch of training with an optimizer, a schedule and a running average of its own."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ogiri.captioning.training.average import Average
from ogiri.captioning.training.fitting import Fitting, Progress, Stopped
from ogiri.captioning.training.model import Model

LOG_EVERY_SECONDS = 30.0

Ints = npt.NDArray[np.int64]

log = logging.getLogger(__name__)


class Stage:
    """Takes steps."""

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        average_decay: float,
        clip_norm: float,
    ) -> None:
        """Args: average_decay: of the running average of the weights; clip_norm: largest norm of a gradient."""
        self.average = Average(model.modules(), average_decay)
        self._optimizer, self._schedule, self._clip_norm = optimizer, schedule, clip_norm
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of a loss."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._optimizer.step()
        self._schedule.step()
        self.average.update()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.average.load_state_dict(state["average"])


class Mean:
    """A weighted mean that grows, and how fast."""

    def __init__(self, name: str) -> None:
        """Args: name: `train_loss`."""
        self.name = name
        self._total, self._weight, self._began = 0.0, 0.0, time.monotonic()

    def add(self, value: float, weight: float) -> None:
        """Take in one more."""
        self._total, self._weight = self._total + value * weight, self._weight + weight

    @property
    def value(self) -> float:
        """The mean so far."""
        return self._total / max(self._weight, 1e-12)

    @property
    def seconds(self) -> float:
        """Since the first."""
        return time.monotonic() - self._began

    @property
    def per_second(self) -> float:
        """Weight a second."""
        return self._weight / self.seconds


def batches_of_epoch(order: Sequence[Ints], work: Fitting, progress: Progress, mean: Mean) -> Iterator[Ints]:
    """The batches of an epoch, with a bar on a terminal and lines in a log.

    Raises:
        Stopped: the job is asked to end.
        FloatingPointError: the mean is no number any more.
    """
    hp, epoch = work.hyperparameters, progress.epoch + 1
    title = f"epoch {epoch}/{hp.epochs + hp.scst_epochs}"
    bar, logged = tqdm(order, title, leave=False, disable=not sys.stderr.isatty(), unit="batch"), time.monotonic()
    for done, batch in enumerate(bar, 1):
        yield batch
        if not math.isfinite(mean.value):
            raise FloatingPointError(f"{mean.name} is {mean.value} in epoch {epoch}: try a lower learning_rate")
        if bar.disable and time.monotonic() - logged > LOG_EVERY_SECONDS:
            logged = time.monotonic()
            log.info("epoch %d: %d of %d batches, %s %.4f", epoch, done, len(order), mean.name, mean.value)
        if work.stopping():
            raise Stopped
