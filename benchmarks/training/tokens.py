"""Tokens a second in a decoder's training step, what padding costs, and how much of the processor is used.

    python -m benchmarks.training.tokens [--shapes lstm small] [--seconds 120] [--batches 16] [--no-compile]

A turn is a step for each of some batches of made-up lines (`benchmarks.training.steps`): forward, backward, optimizer,
average of the weights; batches are made before. The turns follow each other, so that a busy neighbour slows all of
them, and the figures are medians. `tokens/s` counts what is learned, without padding; `padding` is the share of
positions that are none of a line. `ratio` is tokens/s over that of random order in float32.

`share` is how much of `peak` is reached: the operations of the step's matrix products, padding included, over the best
that products of square matrices reach in the same run (`benchmarks.training.peak`).

The second table is `torch.compile`, in a process of its own for each row, which is ended where the first step takes
longer than `--compile-seconds`: one decoder as it is and one that is compiled take turns. `pays after s` is how much
training it takes until the time of the first step has come back; a dash where it never does.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.machine import ROOT
from benchmarks.serving.shapes import SHAPES
from benchmarks.training.peak import operations_per_second
from benchmarks.training.results import publish
from benchmarks.training.steps import BUCKETED, CPU, RANDOM, Learner, batches, made_up, padding, tokens_to_learn
from ogiri.captioning.training.precision import has_bf16

BATCH_SIZES = {"lstm": 128, "small": 16, "medium": 8}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
COMPILE_SECONDS = 60.0


@dataclass
class Kind:
    """One way to train, and what each of its turns took.

    Attributes:
        precision: `fp32` or `bf16`.
        order: of the lines.
        tokens: that a turn learns.
        steps: of a turn.
        padding: share of the positions.
        operations: of a turn's matrix products.
        seconds: of the turns.
    """

    precision: str
    order: str
    tokens: int
    steps: int
    padding: float
    operations: int
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, and print the tables; or be a process that compiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=BATCH_SIZES, default=["lstm", "small"])
    parser.add_argument("--seconds", type=float, default=120.0, help="turns go on for so long; one of each is made")
    parser.add_argument("--batches", type=int, default=16, help="steps of a turn")
    parser.add_argument("--batch-size", type=int, help="lines of a step, by default as many as the shape is given")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--compile-seconds", type=float, default=COMPILE_SECONDS)
    parser.add_argument("--compiled", choices=DTYPES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compiled:
        _compile(arguments.shapes[0], arguments.compiled, arguments)
        return
    precisions = [name for name in DTYPES if name == "fp32" or has_bf16(CPU)]
    table, compiled = [], []
    for shape in arguments.shapes:
        table += [{"shape": shape, **row} for row in _measure(shape, precisions, arguments)]
        if not arguments.no_compile:
            compiled += [compile_row(shape, precision, arguments) for precision in precisions]
    sizes = {shape: arguments.batch_size or BATCH_SIZES[shape] for shape in arguments.shapes}
    settings = {"batches": arguments.batches, "threads": torch.get_num_threads(), "lines of a batch": sizes}
    publish("tokens", settings, table)
    if compiled:
        publish("compile", settings, compiled)


def _measure(shape: str, precisions: Sequence[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    size = arguments.batch_size or BATCH_SIZES[shape]
    examples = made_up(SHAPES[shape], size * arguments.batches)
    learner = Learner(SHAPES[shape], examples)
    made = {order: batches(examples, order, size) for order in (RANDOM, BUCKETED)}
    counted = {order: learner.operations(some) for order, some in made.items()}  # the turns that nothing is timed of
    kinds = [
        Kind(precision, order, tokens_to_learn(some), len(some), padding(some), counted[order])
        for precision in precisions
        for order, some in made.items()
    ]
    for precision in precisions[1:]:
        learner.turn(made[BUCKETED], precision)  # its kernels are chosen
    peaks: dict[str, list[float]] = {precision: [] for precision in precisions}
    began = time.monotonic()
    while not kinds[0].seconds or time.monotonic() - began < arguments.seconds:
        for precision in precisions:
            peaks[precision].append(operations_per_second(DTYPES[precision]))
        for kind in kinds:
            kind.seconds.append(learner.turn(made[kind.order], kind.precision).seconds)
    return rows(kinds, {precision: statistics.median(found) for precision, found in peaks.items()})


def rows(kinds: Sequence[Kind], peaks: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row for each kind; the first is what `ratio` compares with.

    Args:
        kinds: with at least one turn each.
        peaks: operations a second by precision.
    """
    table = []
    for kind in kinds:
        seconds = statistics.median(kind.seconds)
        done = kind.operations / seconds
        table.append(
            {
                "precision": kind.precision,
                "batches": kind.order,
                "tokens/s": kind.tokens / seconds,
                "ratio": kind.tokens / seconds / (kinds[0].tokens / statistics.median(kinds[0].seconds)),
                "ms a step": 1000 * seconds / kind.steps,
                "padding": kind.padding,
                "GFLOP a step": kind.operations / kind.steps / 1e9,
                "GFLOP/s": done / 1e9,
                "peak GFLOP/s": peaks[kind.precision] / 1e9,
                "share": done / peaks[kind.precision],
                "turns": len(kind.seconds),
            }
        )
    return table


def compile_row(shape: str, precision: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a process that compiles has found, or why it has not."""
    options = {"--shapes": shape, "--compiled": precision, "--batches": arguments.batches}
    options |= {"--seconds": arguments.seconds, "--batch-size": arguments.batch_size or BATCH_SIZES[shape]}
    command = [
        sys.executable,
        "-m",
        "benchmarks.training.tokens",
        *(str(part) for pair in options.items() for part in pair),
    ]
    row = {"shape": shape, "precision": precision}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        ready, found = _lines(process, arguments.compile_seconds)
    if not ready and process.returncode == -signal.SIGKILL:
        return row | {"outcome": f"not compiled within {arguments.compile_seconds:g} s"}
    if not found:
        return row | {"outcome": f"ended with {process.returncode}"}
    return row | {"outcome": "works", **compared(**json.loads(found))}


def compared(tokens: int, first: float, plain: Sequence[float], compiled: Sequence[float]) -> dict[str, Any]:
    """What compiling brings.

    Args:
        tokens: of a turn.
        first: seconds of the step in which it is compiled.
        plain, compiled: seconds of the turns of both.
    """
    before, after = statistics.median(plain), statistics.median(compiled)
    saved = 1 - after / before  # of each second of training
    return {
        "tokens/s": tokens / before,
        "compiled tokens/s": tokens / after,
        "ratio": before / after,
        "first step s": first,
        "pays after s": first / saved if saved > 0 else None,
    }


def _lines(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """What a process that compiles says when it has, and what it has found; it is ended where the first does not come.

    What is done before it begins, such as the import of torch, is not the compiler's time.
    """
    assert process.stdout is not None
    process.stdout.readline()
    late = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    late.start()
    ready = process.stdout.readline()
    late.cancel()
    return ready, process.stdout.readline()


def _compile(shape: str, precision: str, arguments: argparse.Namespace) -> None:
    examples = made_up(SHAPES[shape], arguments.batch_size * arguments.batches)
    some = batches(examples, BUCKETED, arguments.batch_size)
    learners = {compiled: Learner(SHAPES[shape], examples, compiled) for compiled in (False, True)}
    learners[False].turn(some, precision)
    print("begins", flush=True)
    first = learners[True].turn(some[:1], precision).seconds
    print("compiled", flush=True)
    learners[True].turn(some, precision)  # shapes that it has not met may be compiled anew
    seconds: dict[bool, list[float]] = {False: [], True: []}
    began = time.monotonic()
    while not seconds[True] or time.monotonic() - began < arguments.seconds:
        for compiled, learner in learners.items():
            seconds[compiled].append(learner.turn(some, precision).seconds)
    found = {"tokens": tokens_to_learn(some), "first": first, "plain": seconds[False], "compiled": seconds[True]}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
