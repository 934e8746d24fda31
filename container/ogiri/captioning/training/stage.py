"""A stretch of training with an optimizer, a schedule and a running average of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogiri.captioning.training.average import Average
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.ranks import Ranks


class Stage:
    """Takes steps."""

    def __init__(
        self,
        model: Model,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        average_decay: float,
        clip_norm: float,
        ranks: Ranks | None = None,
    ) -> None:
        """Take no step yet.

        Args:
            model: whose weights these are.
            optimizer: of its weights.
            schedule: of the optimizer.
            average_decay: of the running average of the weights.
            clip_norm: largest norm of a gradient.
            ranks: the processes that share each step; None = there is one.
        """
        self.average = Average(model.modules(), average_decay)
        self._optimizer, self._schedule, self._clip_norm = optimizer, schedule, clip_norm
        self._ranks = ranks or Ranks()
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(self, loss: Tensor | None, weight: float = 1.0, more: Sequence[float] = ()) -> tuple[Tensor, list[float]]:
        """Follow the gradient of a loss.

        Args:
            loss: a mean over what this process took of the step; None where that was nothing.
            weight: what it is a mean over.
            more: numbers to be added up over the processes.

        Returns:
            The loss of the whole step, and the sums of `more`.
        """
        self._optimizer.zero_grad(set_to_none=True)
        figures = self._ranks.backward(loss, weight, self._parameters, more)
        nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._optimizer.step()
        self._schedule.step()
        self.average.update()
        return figures

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
