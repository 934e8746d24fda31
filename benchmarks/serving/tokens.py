"""Milliseconds a token and a line for 1 to 16 sequences: our engine beside others, and the bound of the memory.

    python -m benchmarks.serving.tokens --shape medium [--sequences 1 4 8 16] [--seconds 120] [--peers NAME …]

Each contender is a process of its own. They take turns, line by line, so that a busy neighbour slows all of them, and
the figures are medians of the turns. A line of 4 and one of 20 tokens are written: their difference is what a token
costs, all that a contender does for it included; the longer one is the line, prefill included, without the encoder.

Ours writes candidates of a picture; who takes no picture gets a prompt of as many tokens. `first` says that the
contender's likeliest token behind the prompt is the one of `transformers` in float32, so that it computes the same.
`bound` is how long the memory takes to deliver the weights of one step (`weights`, which all sequences share), at the
bandwidth that is measured in every round. `share` is how much of the bound is reached.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.serving.bandwidth import bytes_per_second
from benchmarks.serving.contender import OURS, PEERS
from benchmarks.serving.models import ready
from benchmarks.serving.shapes import SHAPES
from benchmarks.summary import publish
from ogiri.machine import available_processors

SEQUENCES = (1, 4, 8, 16)
SHORT, LONG = 4, 20
SECONDS = 120.0
PAUSE_SECONDS = 0.3
"""Before each turn: threads of the one before spin for a while when their work is done."""
REFERENCE = "transformers float32"
_OWN, _CTRANSLATE2, _LLAMA = sys.executable, PEERS / "ctranslate2/bin/python", PEERS / "llama_cpp/bin/python"
ENGINES = {
    OURS: (Path(_OWN), "ogiri"),
    "onnx loop": (Path(_OWN), "onnx_loop"),
    REFERENCE: (Path(_OWN), "transformers_float32"),
    "torch int8": (Path(_OWN), "torch_int8"),
    "ctranslate2 int8": (_CTRANSLATE2, "ctranslate2_int8"),
    "llama.cpp q4_0": (_LLAMA, "llama_q4"),
}
"""Name → the Python of its environment, and its module in `engines`."""
PICTURELESS = ("gpt2",)  # decoders that have a language model inside, which the others can load


@dataclass
class Engine:
    """A contender in its process.

    Attributes:
        process: what it runs in.
        weight_bytes: that a step reads.
        first: its likeliest token behind the prompt, None where it takes a picture.
        seconds: (sequences, tokens) → what each turn took.
    """

    process: subprocess.Popen[str]
    weight_bytes: int
    first: int | None
    seconds: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def turn(self, sequences: int, tokens: int) -> None:
        """Write lines.

        Raises:
            RuntimeError: it ended, or wrote fewer tokens.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"sequences": sequences, "tokens": tokens}) + "\n")
        self.process.stdin.flush()
        answer = _read(self.process)
        if answer["tokens"] != tokens:
            raise RuntimeError(f"{self.process.args} wrote {answer['tokens']} tokens of {tokens}")
        self.seconds.setdefault((sequences, tokens), []).append(answer["seconds"])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="medium")
    parser.add_argument("--sequences", type=int, nargs="+", default=SEQUENCES)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="rounds go on for so long; one is always made")
    parser.add_argument("--peers", nargs="*", choices=ENGINES, default=list(ENGINES))
    arguments = parser.parse_args()
    base = ready(arguments.shape)
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(opened(name, base, arguments.shape))
            for name in chosen(arguments.peers, SHAPES[arguments.shape].decoder)
        }
        began, bandwidths = time.monotonic(), []
        while not bandwidths or time.monotonic() - began < arguments.seconds:
            bandwidths.append(bytes_per_second())
            _round(engines.values(), arguments.sequences)
    bandwidth = statistics.median(bandwidths)
    settings = {
        "shape": arguments.shape,
        "rounds": len(bandwidths),
        "tokens of a line": LONG,
        "bandwidth in GB/s": round(bandwidth / 1e9, 1),
    }
    publish(f"tokens-{arguments.shape}", settings, rows(engines, arguments.sequences, bandwidth))


def chosen(names: Sequence[str], decoder: str) -> list[str]:
    """Ours and those of these names that are installed and have such a decoder; what is left out is named."""
    kept = []
    for name in dict.fromkeys([OURS, *names]):
        python, module = ENGINES[name]
        if not python.exists():
            print(f"{name} is left out: run benchmarks/serving/peers/install.sh")
        elif decoder not in PICTURELESS and module not in ("ogiri", "onnx_loop"):
            print(f"{name} is left out: it is no {decoder}")
        else:
            kept.append(name)
    return kept


@contextmanager
def opened(name: str, base: Path, shape: str) -> Iterator[Engine]:
    """A contender that waits for its turns."""
    python, module = ENGINES[name]
    command = [python, "-m", f"benchmarks.serving.engines.{module}", base, shape, str(available_processors())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        hello = _read(process)
        yield Engine(process, hello["weight_bytes"], hello["first"])
        assert process.stdin is not None
        process.stdin.close()


def rows(engines: Mapping[str, Engine], sequences: Sequence[int], bandwidth: float) -> list[dict[str, Any]]:
    """A row for each number of sequences and contender; `ratio` is their milliseconds a token over ours."""
    table = []
    for count in sequences:
        ours = token_seconds(engines[OURS], count)
        for name, engine in engines.items():
            token, bound = token_seconds(engine, count), engine.weight_bytes / bandwidth
            table.append(
                {
                    "sequences": count,
                    "contender": name,
                    "ms a token": 1000 * token,
                    "tokens/s": count / token,
                    "ms a line": 1000 * statistics.median(engine.seconds[count, LONG]),
                    "ratio": token / ours,
                    "weights MB": engine.weight_bytes / 1e6,
                    "bound ms": 1000 * bound,
                    "share": bound / token,
                    "first": _agrees(engine, engines.get(REFERENCE)),
                }
            )
    return table


def token_seconds(engine: Engine, sequences: int) -> float:
    """The median over the rounds of what each further token took."""
    pairs = zip(engine.seconds[sequences, SHORT], engine.seconds[sequences, LONG], strict=True)
    return statistics.median((long - short) / (LONG - SHORT) for short, long in pairs)


def _round(engines: Any, sequences: Sequence[int]) -> None:
    for count in sequences:
        for tokens in (SHORT, LONG):
            for engine in engines:
                time.sleep(PAUSE_SECONDS)
                engine.turn(count, tokens)


def _read(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended with {process.wait()}")
    return json.loads(line)


def _agrees(engine: Engine, reference: Engine | None) -> str | None:
    if engine.first is None or reference is None:
        return None
    return "same" if engine.first == reference.first else "other"


if __name__ == "__main__":
    main()
