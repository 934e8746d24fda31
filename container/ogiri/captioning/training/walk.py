"""The way through an epoch, batch by batch, which a restarted job takes up in its middle."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from ogiri.captioning.training.fitting import Fitting, Progress, Stopped

LOG_EVERY_SECONDS = 30.0
CHECKPOINT_EVERY_SECONDS = 180.0  # within an epoch

Ints = npt.NDArray[np.int64]

log = logging.getLogger(__name__)


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
        """Since the first, without the time between an end and a restart."""
        return time.monotonic() - self._began

    @property
    def per_second(self) -> float:
        """Weight a second."""
        return self._weight / self.seconds

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"total": self._total, "weight": self._weight, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """The reverse of `state_dict`."""
        self._total, self._weight = state["total"], state["weight"]
        self._began = time.monotonic() - state["seconds"]


class Dice:
    """Every generator that an epoch draws from: NumPy's, torch's own of CPU and GPU, and one for pictures."""

    def __init__(self, rng: np.random.Generator, device: torch.device, pictures: torch.Generator | None = None) -> None:
        """Args: rng: of the epoch; device: of the model; pictures: what varies them."""
        self._rng, self._device, self._pictures = rng, device, pictures

    def throw_for(self, *numbers: int) -> None:
        """Draw from now on what is a function of these numbers."""
        rng = np.random.default_rng(numbers)
        torch.manual_seed(int(rng.integers(2**62)))
        if self._pictures is not None:
            self._pictures.manual_seed(int(rng.integers(2**62)))
        self._rng.bit_generator.state = rng.bit_generator.state

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        state: dict[str, Any] = {"numpy": json.dumps(self._rng.bit_generator.state), "torch": torch.get_rng_state()}
        if self._device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self._device)
        if self._pictures is not None:
            state["pictures"] = self._pictures.get_state()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`; on another kind of device its generator goes on as the epoch seeded it."""
        self._rng.bit_generator.state = json.loads(state["numpy"])
        torch.set_rng_state(state["torch"])
        if self._device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self._device)
        if self._pictures is not None:
            self._pictures.set_state(state["pictures"])


def walk(
    order: Sequence[Ints], work: Fitting, progress: Progress, mean: Mean, dice: Dice, save: Callable[[], None]
) -> Iterator[Ints]:
    """The batches of an epoch, with a bar on a terminal, lines in a log, and now and then a checkpoint.

    Where several processes share each batch, what they draw for it depends on seed, epoch, step and rank alone.

    Args:
        order: all batches, the same after a restart.
        work: asked whether to stop.
        progress: `within` says where to begin; it is kept up to date for `save`.
        mean: taken of the batches, by the caller.
        dice: drawn from for the batches, by the caller.
        save: writes a checkpoint.

    Raises:
        Stopped: the job is asked to end; the checkpoint is written.
        FloatingPointError: the mean is no number any more.
    """
    hp, epoch, begun = work.hyperparameters, progress.epoch + 1, 0
    if progress.within:
        begun = progress.within["batches"]
        mean.load_state_dict(progress.within["mean"])
        dice.load_state_dict(progress.within["dice"])
    title, silent = f"epoch {epoch}/{hp.epochs + hp.scst_epochs}", not sys.stderr.isatty() or not work.ranks.leads
    bar = tqdm(order[begun:], title, leave=False, total=len(order), disable=silent, unit="batch", initial=begun)
    logged = saved = time.monotonic()
    for done, batch in enumerate(bar, begun + 1):
        if work.ranks.world > 1:
            dice.throw_for(hp.seed, progress.epoch, progress.steps, work.ranks.rank)
        yield batch
        if not math.isfinite(mean.value):
            raise FloatingPointError(f"{mean.name} is {mean.value} in epoch {epoch}: try a lower learning_rate")
        now, stopping = time.monotonic(), work.stopping()
        if silent and now - logged > LOG_EVERY_SECONDS:
            logged = now
            log.info("epoch %d: %d of %d batches, %s %.4f", epoch, done, len(order), mean.name, mean.value)
        if stopping or now - saved > CHECKPOINT_EVERY_SECONDS:
            progress.within = {"batches": done, "mean": mean.state_dict(), "dice": dice.state_dict()}
            save()
            saved = time.monotonic()
        if stopping:
            raise Stopped
    progress.within = {}
