"""A running average of the weights, which is what gets validated, and shipped where it was.

The average over the last steps lies closer to the middle of a minimum than any single step does (Polyak and Juditsky
1992; Izmailov et al. 2018, arXiv:1803.05407).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Average:
    """Exponential average of the parameters of some modules."""

    def __init__(self, modules: Sequence[nn.Module], decay: float) -> None:
        """Start from the present weights; `decay` 0 makes the average the weights themselves."""
        self._parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self._averages = [p.detach().clone() for p in self._parameters]
        self._decay, self._updates = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step; the first ones, which are far off, are forgotten sooner."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._averages, [p.detach() for p in self._parameters], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The modules have the averages inside the block, and their own weights again after it."""
        own = [p.detach().clone() for p in self._parameters]
        _copy(self._averages, self._parameters)
        try:
            yield
        finally:
            _copy(own, self._parameters)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"averages": self._averages, "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        _copy(state["averages"], self._averages)
        self._updates = state["updates"]


@torch.no_grad()
def _copy(source: Sequence[torch.Tensor], target: Sequence[torch.Tensor]) -> None:
    for value, place in zip(source, target, strict=True):
        place.copy_(value)
