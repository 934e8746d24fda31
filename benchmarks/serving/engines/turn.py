"""A contender of `benchmarks.serving.tokens` in a process of its own, that writes lines when it is its turn."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PREFIX = 51
"""Slots before the line, the begin token not counted: 49 cells of a picture and 2 controls. Who takes no picture gets
as many tokens."""
POSITIONS = 128
TEMPERATURE, TOP_K, TOP_P, REPETITION_PENALTY = 0.9, 50, 0.92, 1.1  # the defaults of `serve`


class Writer(Protocol):
    """What is measured."""

    weight_bytes: int
    """Of the weights that a step reads."""

    def write(self, sequences: int, tokens: int) -> int:
        """Write lines of exactly so many tokens side by side; gives how many the shortest has."""

    def first(self) -> int | None:
        """The likeliest token behind `prefix_tokens`; None where there is a picture instead of them."""


@dataclass(frozen=True)
class Asked:
    """What a contender is started with.

    Attributes:
        base: folder of the artifact.
        shape: its name.
        threads: of a running model.
    """

    base: Path
    shape: str
    threads: int

    @classmethod
    def read(cls) -> Asked:
        """From the command line: BASE SHAPE THREADS."""
        return cls(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))


def prefix_tokens(vocabulary: int) -> list[int]:
    """The same tokens for every contender that takes no picture, the begin token in front."""
    return [1, *(3 + 7919 * place % (vocabulary - 3) for place in range(PREFIX))]


def take_turns(writer: Writer) -> None:
    """Say what the writer is, then write what each line of the standard input asks, until it ends."""
    writer.write(1, 2)  # what is made at the first use is no part of a turn
    _say({"weight_bytes": writer.weight_bytes, "first": writer.first()})
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        tokens = writer.write(asked["sequences"], asked["tokens"])
        _say({"seconds": time.perf_counter() - began, "tokens": tokens})


def _say(document: object) -> None:
    print(json.dumps(document), flush=True)
