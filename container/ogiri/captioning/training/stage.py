"""A stretch of training with an optimizer, a schedule and a running average of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ogiri.captioning.training.average import Average
from ogiri.captioning.training.model import Model


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
