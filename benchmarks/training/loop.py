"""Seconds to the same validation loss: `train` beside the loop that people write.

    python -m benchmarks.training.loop FOLDER --pretrained WEIGHTS [--encoder mobilenet_v2 resnet50] [--pictures 1000]
        [--epochs 10] [--rounds 1] [NAME=VALUE …]

FOLDER is a collection as benchmarks/captioning/data.py reads it: the first pictures of its `train` split are taken, one
line of each. Both get the same folders and run as processes of their own, in turns; `benchmarks.training.naive` says
what differs. Encoder weights that WEIGHTS does not hold are made at random: that is as fast, and the pictures then say
little.

`loss` is the worse of the two final validation losses, and `s to it` is from the start of a process to the end of the
first epoch that has reached it; `ratio` is that over ours. `pictures/s` counts each training picture once an epoch, up
to the end of the last one. `total s` is the whole process: that of `train` also encodes, exports, checks its graphs and
evaluates; the naive one saves its weights and ends. NAME=VALUE are hyperparameters of both. Where there are several
rounds, the figures are those of the round with the middle total.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.captioning.data import Example, read_collection
from benchmarks.captioning.job import lay_out
from benchmarks.machine import ROOT
from benchmarks.training.results import publish

OURS, NAIVE = "ogiri", "naive loop"
COMMANDS = {
    OURS: [sys.executable, str(ROOT / "container" / "train")],
    NAIVE: [sys.executable, "-m", "benchmarks.training.naive"],
}
ENCODERS = ("mobilenet_v2", "resnet50")
HYPERPARAMETERS = {
    "batch_size": "32",
    "decoder_width": "256",  # what docs/tuning.md names for so few lines: 512 learns no more from them
    "learning_rate": "0.002",
    "patience": "0",
    "min_records": "1",
}
FOLDER = ROOT / "build" / "training" / "loop"
GIVEN, RANDOM = "given", "random"
_LOSS, _DATA = re.compile(r"\bvalidation_loss=([-0-9.]+);"), re.compile(r"(\d+) pictures and \d+ lines to train on.*")


@dataclass(frozen=True)
class Epoch:
    """When it was over, validation included, in seconds from the start of the process, and its validation loss."""

    seconds: float
    loss: float


@dataclass(frozen=True)
class Run:
    """A process that has ended.

    Attributes:
        epochs: in order, at least one.
        seconds: from its start to its end.
        data: what its log says it trained on.
        pictures: to train on.
    """

    epochs: Sequence[Epoch]
    seconds: float
    data: str
    pictures: int

    @property
    def final(self) -> float:
        """The validation loss after the last epoch."""
        return self.epochs[-1].loss

    def reached(self, loss: float) -> tuple[int, float]:
        """The first epoch, from 1, with at most this loss, and when it was over."""
        return next((n, epoch.seconds) for n, epoch in enumerate(self.epochs, 1) if epoch.loss <= loss)


def main() -> None:
    """Run everything, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pretrained", type=Path, help="folder with weights of the encoders")
    parser.add_argument("--encoder", nargs="+", default=ENCODERS)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("hyperparameters", nargs="*", metavar="NAME=VALUE")
    arguments = parser.parse_intermixed_args()
    own = dict(pair.split("=", 1) for pair in arguments.hyperparameters)
    examples, images = chosen(read_collection(arguments.folder), arguments.pictures), arguments.folder / "images"
    table = []
    for encoder in arguments.encoder:
        hp = {**HYPERPARAMETERS, "encoder": encoder, "epochs": str(arguments.epochs), **own}
        weights, origin = encoder_weights(encoder, arguments.pretrained, FOLDER / "weights")
        runs: dict[str, list[Run]] = {name: [] for name in COMMANDS}
        for _ in range(arguments.rounds):
            for name, command in COMMANDS.items():
                base = FOLDER / f"{encoder} {name}".replace(" ", "-")
                prepare(base, examples, images, weights, hp)
                runs[name].append(run(command, base))
        table += rows({"encoder": encoder, "weights": origin}, {name: middle(some) for name, some in runs.items()})
    settings = {"pictures": len(examples), "epochs": arguments.epochs, "rounds": arguments.rounds, **HYPERPARAMETERS}
    publish("loop", settings | own, table)


def chosen(examples: Iterable[Example], count: int) -> list[Example]:
    """The first pictures to train on.

    Raises:
        SystemExit: there are fewer.
    """
    some = [example for example in examples if example.split == "train"][:count]
    if len(some) < count:
        raise SystemExit(f"--pictures is {count}, and the collection has {len(some)} in its train split: ask for fewer")
    return some


def encoder_weights(name: str, given: Path | None, made: Path) -> tuple[Path, str]:
    """A folder with weights of an encoder, random ones where the one that is given has none, and which they are."""
    import safetensors.torch  # torch, which takes seconds to import, is for who starts a run only
    import torch

    from ogiri.captioning.model.encoder import build_network, find_weights

    if given is not None and find_weights(name, [given]) is not None:
        return given, GIVEN
    torch.manual_seed(0)
    made.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(build_network(name).state_dict(), made / f"{name}.safetensors")
    return made, RANDOM


def prepare(
    base: Path, examples: Sequence[Example], images: Path, weights: Path, hyperparameters: Mapping[str, str]
) -> None:
    """A base folder for both: what SageMaker lays out, and the hashes that the naive loop splits by."""
    from benchmarks.training.naive import HASHES
    from ogiri import picture
    from ogiri.captioning.data.duplicates import picture_hash

    items = [{"ImageKey": one.image, "ExpectedResult": one.captions[0], "Labels": one.labels} for one in examples]
    lay_out(base, images, weights, items, hyperparameters)
    size = int(hyperparameters.get("image_size", "224"))
    hashes = {one.image: picture_hash(picture.load((images / one.image).read_bytes(), size)) for one in examples}
    (base / HASHES).write_text(json.dumps({name: found.hex() for name, found in hashes.items()}))


def run(command: Sequence[str], base: Path) -> Run:
    """Train to the end; each line of the log is timed as it comes.

    Raises:
        RuntimeError: it failed, or validated nothing.
    """
    own = {"SAGEMAKER_BASE_DIR": str(base), "TRAINING_JOB_NAME": base.name}
    epochs, told, log = [], None, base / "log.txt"
    began = time.monotonic()
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic() - began
            kept.write(f"{now:9.2f} {line}")
            if found := _LOSS.search(line):
                epochs.append(Epoch(now, float(found[1])))
            told = _DATA.search(line) or told
        status = process.wait()
    seconds = time.monotonic() - began
    if status or not epochs or told is None:
        raise RuntimeError(f"{' '.join(command)} ended with {status} and {len(epochs)} validated epochs: see {log}")
    return Run(epochs, seconds, told[0], int(told[1]))


def middle(runs: Sequence[Run]) -> Run:
    """The one with the middle total, of two the faster one."""
    return sorted(runs, key=lambda one: one.seconds)[(len(runs) - 1) // 2]


def rows(named: Mapping[str, str], runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """A row for each contender, with `named` in front.

    Raises:
        ValueError: they were not trained on the same.
    """
    if len({one.data for one in runs.values()}) > 1:
        raise ValueError(f"not the same data: {'; '.join(f'{name}: {one.data}' for name, one in runs.items())}")
    loss = max(one.final for one in runs.values())
    ours = runs[OURS].reached(loss)[1]
    table = []
    for name, one in runs.items():
        epoch, seconds = one.reached(loss)
        table.append(
            {
                **named,
                "contender": name,
                "loss": loss,
                "s to it": seconds,
                "epochs to it": epoch,
                "ratio": seconds / ours,
                "final loss": one.final,
                "pictures/s": one.pictures * len(one.epochs) / one.epochs[-1].seconds,
                "total s": one.seconds,
                "total ratio": one.seconds / runs[OURS].seconds,
            }
        )
    return table


if __name__ == "__main__":
    main()
