"""What one of several processes takes of the work, and how they speak; the processes are real, by gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ogiri.captioning.training.ranks import Ranks

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 120


class Place(Ranks):
    def __init__(self, rank: int, world: int) -> None:
        super().__init__()
        self.rank, self.world = rank, world


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("rows", "world"), [(7, 1), (7, 2), (7, 3), (2, 3), (0, 2)])
def test_each_row_is_taken_once_and_by_one(rows: int, world: int, together: bool):
    taken = [Place(rank, world).share(np.arange(rows), together) for rank in range(world)]
    assert sorted(np.concatenate(taken).tolist()) == list(range(rows))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_rows_that_stand_together_stay_so():
    assert [Place(rank, 2).share(np.arange(5), True).tolist() for rank in (0, 1)] == [[0, 1, 2], [3, 4]]
    assert [Place(rank, 2).share(np.arange(5)).tolist() for rank in (0, 1)] == [[0, 2, 4], [1, 3]]


def together(world: int, code: str) -> list[str]:
    """What each of some processes prints; `ranks` is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begin = "import torch, numpy as np\nfrom ogiri.captioning.training.ranks import join\n"
    begin += "asked = []\nranks = join(lambda: bool(asked))\n"
    processes = []
    for rank in range(world):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": 1}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", f"{begin}{code}\nranks.leave()"],
                env={**os.environ, "PYTHONPATH": str(ROOT / "container"), **{n: str(v) for n, v in own.items()}},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        )
    ends = [process.communicate(timeout=TIMEOUT_SECONDS) for process in processes]
    assert {process.returncode for process in processes} == {0}, ends
    return [out.strip() for out, _ in ends]


def test_what_one_gives_all_have():
    code = """
values = torch.full((3,), float(ranks.rank))
ranks.spread_tensors([values])
print(ranks.spread(b"abc" if ranks.leads else b""), ranks.spread(), ranks.spread_json({"a": ranks.rank + 0.1}),
      values.tolist(), ranks.sum([1, ranks.rank]), ranks.gather(b"x" * ranks.rank))
"""
    shared = "b'abc' b'' {'a': 0.1} [0.0, 0.0, 0.0] [3.0, 3.0]"
    assert together(3, code) == [f"{shared} [b'', b'x', b'xx']", f"{shared} []", f"{shared} []"]


def test_a_gradient_is_that_of_the_whole_batch_and_none_where_nobody_has_one():
    """The means of 3, 1 and no rows, of which each counts for as much as its rows."""
    code = """
weight, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(1))
rows = torch.arange(8.0).reshape(4, 2)[[slice(0, 3), slice(3, 4), slice(0, 0)][ranks.rank]]
loss = (rows @ weight).mean() if len(rows) else None
value, more = ranks.backward(loss, float(len(rows)), [weight, unused], [float(ranks.rank)])
print(value.item(), weight.grad.tolist(), unused.grad, more)
"""
    assert together(3, code) == ["7.0 [3.0, 4.0] None [3.0]"] * 3


def test_all_know_in_the_same_step_that_one_is_asked_to_end():
    code = """
weight = torch.nn.Parameter(torch.ones(1))
said = []
for step in range(3):
    if (step, ranks.rank) == (1, 1):
        asked.append(True)
    ranks.backward((weight * 1).sum(), 1.0, [weight], [])
    said.append(ranks.stopping())
print(said, ranks.any(ranks.rank == 0), ranks.any(False))
"""
    assert together(2, code) == ["[False, True, True] True False"] * 2
