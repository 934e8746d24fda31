"""Several processes that train one model, by torch.distributed: gloo between CPUs, NCCL between GPUs beside it.

They are found as `torchrun` describes them in the environment (RANK, WORLD_SIZE, MASTER_ADDR, …).
https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ogiri.captioning.training.ranks import Ranks
from ogiri.task import RankLost

FIND_SECONDS = 300.0  # from the first process that is there to the last
STEP_SECONDS = 600.0  # for the others to come to a step; who has died is noticed much sooner, by those that started us
WAIT_SECONDS = 7 * 86400.0  # for one that reads all records or encodes all pictures

T = TypeVar("T")


class JoinedRanks(Ranks):
    """This process and the others."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        """Meet the others.

        Args:
            stopping: true once this process is asked to end.

        Raises:
            RankLost: another process was not found in time.
        """
        super().__init__(stopping)
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.local_rank, self.local_world = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
        self._stopping = False
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank)
            backend = "cpu:gloo,cuda:nccl"
        with _contact():
            dist.init_process_group(backend, timeout=timedelta(seconds=FIND_SECONDS))
            self._steps = _group(backend, STEP_SECONDS)
            self._waits = _group("gloo", WAIT_SECONDS)

    def stopping(self) -> bool:
        """Whether the job is to end, as all of them knew it when they last agreed."""
        return self._stopping

    def any(self, flag: bool) -> bool:
        """Whether it is so for any of the processes, and whether any is asked to end, which `stopping` says then."""
        told, asked = self.sum([float(flag), float(self._asked())])
        self._stopping |= asked > 0
        return told > 0

    def spread(self, data: bytes = b"") -> bytes:
        """What the process that leads gives; the others give nothing."""
        size = torch.tensor([len(data)])
        with _contact():
            dist.broadcast(size, 0, group=self._waits)
            if not size:
                return b""
            sent = torch.frombuffer(bytearray(data), dtype=torch.uint8) if self.leads else _bytes(int(size))
            dist.broadcast(sent, 0, group=self._waits)
        return data if self.leads else sent.numpy().tobytes()

    def spread_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values that they have in the process that leads, in place."""
        with _contact(), torch.no_grad():
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent, 0, group=self._steps)
                tensor.copy_(sent)

    def spread_json(self, value: T) -> T:
        """`value` of the process that leads; of what JSON can hold."""
        sent: T = json.loads(self.spread(json.dumps(value).encode() if self.leads else b""))
        return sent

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number added up over the processes."""
        total = torch.tensor(numbers, dtype=torch.float64)
        with _contact():
            dist.all_reduce(total, group=self._waits)
        sums: list[float] = total.tolist()
        return sums

    def gather(self, data: bytes) -> list[bytes]:
        """What each process gives, by rank; nothing where this one does not lead."""
        sizes = torch.zeros(self.world, dtype=torch.int64)
        sizes[self.rank] = len(data)
        with _contact():
            dist.all_reduce(sizes, group=self._waits)
            if not self.leads:
                if data:
                    dist.send(torch.frombuffer(bytearray(data), dtype=torch.uint8), 0, group=self._waits)
                return []
            parts = [data]
            for rank, size in enumerate(sizes.tolist()[1:], 1):
                part = _bytes(size)
                if size:
                    dist.recv(part, rank, group=self._waits)
                parts.append(part.numpy().tobytes())
        return parts

    def backward(
        self, loss: Tensor | None, weight: float, parameters: Sequence[nn.Parameter], more: Sequence[float]
    ) -> tuple[Tensor, list[float]]:
        """Find the gradient of the loss of a step, over what all processes took of it; agree on `stopping` too.

        The gradient of the sums is added up in one message and divided by the whole weight, so that it is the gradient
        of the mean over the whole batch, however much of it each process had.
        """
        total = 0.0
        if loss is not None:
            (loss * weight).backward()  # type: ignore[no-untyped-call]
            total = float(loss.detach()) * weight
        device = parameters[0].device
        numbers = [total, float(weight if loss is not None else 0.0), float(self._asked()), *more]
        learned = [float(p.grad is not None) for p in parameters]
        head = torch.tensor([*numbers, *learned], dtype=torch.float32, device=device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([head, *(gradient.float().reshape(-1) for gradient in gradients)])
        with _contact():
            dist.all_reduce(flat, group=self._steps)
        total, weight, asked, *rest = flat[: len(head)].tolist()
        self._stopping |= asked > 0
        flat[len(head) :] /= weight
        start = len(head)
        for parameter, any_learned in zip(parameters, rest[len(more) :], strict=True):
            end = start + parameter.numel()
            # what no process had a gradient for has none, so that the optimizer leaves it as it is
            parameter.grad = flat[start:end].view_as(parameter).to(parameter.dtype) if any_learned else None
            start = end
        return torch.tensor(total / weight), rest[: len(more)]

    def leave(self) -> None:
        """This process goes on alone, or ends."""
        dist.destroy_process_group()


def _group(backend: str, seconds: float) -> dist.ProcessGroup:
    """Of all processes, which wait so long for each other."""
    group = dist.new_group(backend=backend, timeout=timedelta(seconds=seconds))
    assert isinstance(group, dist.ProcessGroup)  # noqa: S101  each is a member
    return group


def _bytes(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8)


@contextmanager
def _contact() -> Iterator[None]:
    """What a collective raises when another process has gone."""
    try:
        yield
    except RuntimeError as error:  # as DistBackendError and DistNetworkError are
        raise RankLost(str(error).splitlines()[0]) from error
