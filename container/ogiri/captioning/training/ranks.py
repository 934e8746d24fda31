"""The processes that train one model: what each takes of the work, and what they tell each other.

`Ranks` is one process on its own, for which nothing of that costs anything; `joined_ranks` has several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

T = TypeVar("T")
Ints = npt.NDArray[np.int64]


class Ranks:
    """One process that does all of the work.

    Attributes:
        rank: of this process, 0 to `world` - 1; 0 leads: it alone reads records and writes files.
        world: how many there are, on all hosts.
        local_rank: of this process among those of its host.
        local_world: how many its host has.
    """

    rank, world, local_rank, local_world = 0, 1, 0, 1

    def __init__(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Args: stopping: true once this process is asked to end."""
        self._asked = stopping

    @property
    def leads(self) -> bool:
        """Whether this is the process that decides and writes."""
        return self.rank == 0

    def stopping(self) -> bool:
        """Whether the job is to end; several processes say the same until they agree anew (`any`, `step`)."""
        return self._asked()

    def any(self, flag: bool) -> bool:
        """Whether it is so for any of the processes; all of them ask at the same place."""
        return flag

    def spread(self, data: bytes = b"") -> bytes:
        """What the process that leads gives; the others give nothing."""
        return data

    def spread_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values that they have in the process that leads, in place."""

    def spread_json(self, value: T) -> T:
        """`value` of the process that leads; of what JSON can hold."""
        return value

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number added up over the processes."""
        return list(numbers)

    def gather(self, data: bytes) -> list[bytes]:
        """What each process gives, by rank; nothing where this one does not lead."""
        return [data]

    def share(self, rows: Ints, together: bool = False) -> Ints:
        """What this process takes of some rows: each row is taken by one of them, and there may be none for this.

        Args:
            rows: the same in all processes.
            together: rows that stand side by side stay so as far as possible; else they are dealt out in turn.
        """
        parts = np.array_split(rows, self.world) if together else [rows[n :: self.world] for n in range(self.world)]
        return parts[self.rank]

    def backward(
        self,
        loss: Tensor | None,
        weight: float,  # noqa: ARG002  one process has the whole mean
        parameters: Sequence[nn.Parameter],  # noqa: ARG002
        more: Sequence[float],
    ) -> tuple[Tensor, list[float]]:
        """Find the gradient of the loss of a step, over what all processes took of it.

        Args:
            loss: a mean over this process's share; None where it had none.
            weight: what it is a mean over.
            parameters: their gradients are of the whole step afterwards.
            more: numbers to be added up on the way.

        Returns:
            The loss of the whole step, and the sums of `more`.
        """
        assert loss is not None  # noqa: S101  one process has all of the step
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), list(more)

    def leave(self) -> None:
        """This process goes on alone, or ends."""


def join(stopping: Callable[[], bool]) -> Ranks:
    """The processes that `torchrun` or `container/train` started beside this one, or this one alone.

    Args:
        stopping: true once this process is asked to end.

    Raises:
        RankLost: another process was not found in time.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return Ranks(stopping)
    from ogiri.captioning.training.joined_ranks import JoinedRanks

    return JoinedRanks(stopping)


def pick_gpu(ranks: Ranks) -> torch.device:
    """The GPU of this process: each of a host has its own."""
    return torch.device("cuda") if ranks.world == 1 else torch.device("cuda", ranks.local_rank)
