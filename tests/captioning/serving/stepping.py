"""One search on an engine of its own, step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ogiri.captioning.model.conditioning import Conditions
from ogiri.captioning.serving.decoding import Decoding, Start
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.search import Stepped

BOS = 1
NOTHING = Conditions(np.zeros((0, 0), int), np.zeros(0, int), np.zeros(0, int))


class Once:
    """A task of one start."""

    def __init__(self, start: Start) -> None:
        self.starts = [start]

    def begin(self) -> Start | None:
        return self.starts.pop() if self.starts else None


def run(
    engine: Engine,
    maps: np.ndarray | None,
    stepped: Stepped,
    conditions: Conditions = NOTHING,
    look: Callable[[], None] = lambda: None,
) -> list[int]:
    """Step to the end, and look after each step; returns how many rows each step of the decoder had."""
    decoding = Decoding(engine, BOS, tokens=32)
    decoding.add(Once(Start(maps, conditions, stepped)))
    rows = []
    while decoding.tasks:
        steps, before = decoding.steps, decoding.row_steps
        for ended in decoding.step():
            assert ended.error is None
        look()
        if decoding.steps > steps:
            rows.append(decoding.row_steps - before)
    return rows
