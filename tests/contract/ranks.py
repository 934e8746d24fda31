"""A small job for several processes, of which nothing is left to chance, so that curves can be equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
import torchvision

from tests.contract.training import SMALL, TRAIN, Row, Training

PICTURES = 24
SUBJECTS = ["犬", "猫", "社長", "部長", "電車", "寿司"]
ROWS = [
    Row(f"{n:02}.png", f"{SUBJECTS[n % 6]}{end}", n, (SUBJECTS[n % 6],) if n % 2 else ())
    for n in range(PICTURES)
    for end in ("が逃げた！", f"は{n}回笑う")
]
CERTAIN = {
    "encoder_weights": "pretrained",
    "precision": "fp32",
    "dropout": "0",
    "condition_dropout": "0",
    "controls": "false",
    "patience": "0",
    "quantize": "false",
}
ENDLESS = {"epochs": "10000"}


def lay_out(base: Path, hosts: Sequence[str] = ("algo-1",), host: str = "algo-1", **hyperparameters: str) -> Training:
    """A base folder for one host, with encoder weights in the `pretrained` channel."""
    job = Training(base, {**SMALL, **CERTAIN, **hyperparameters})
    job.draw(ROWS)
    job.list(row.item() for row in ROWS)
    torch.manual_seed(0)
    weights = torchvision.models.mobilenet_v3_small(weights=None).state_dict()
    safetensors.torch.save_file(weights, job.channel("pretrained") / "mobilenet_v3_small.safetensors")
    job.config("hyperparameters", json.dumps(job.hyperparameters))
    names = {"hosts": list(hosts), "current_host": host, "network_interface_name": "eth0"}
    job.config("resourceconfig", json.dumps(names))
    return job


def start(job: Training, command: Sequence[str] = (), program: Sequence[str] = (str(TRAIN),)) -> subprocess.Popen[str]:
    """The launcher of a host; its log goes to `log.txt` of the base folder, its metrics to its stdout."""
    others = ("PYTHON", "AWS_", "DYNAMODB_", "SAGEMAKER_", "TRAINING_", "MLFLOW_", "OMP_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    own = {"OMP_NUM_THREADS": "1", "SAGEMAKER_BASE_DIR": str(job.base)}
    with (job.base / "log.txt").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            [*command, sys.executable, *program],
            env={**kept, **own},
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            cwd=Path(__file__).parents[2],
        )


def log_of(job: Training) -> str:
    return (job.base / "log.txt").read_text(encoding="utf-8")


def history(job: Training) -> list[dict[str, float]]:
    """The figures of every epoch, without times."""
    epochs = json.loads((job.output / "metrics.json").read_text(encoding="utf-8"))["history"]
    return [{name: value for name, value in epoch.items() if "second" not in name} for epoch in epochs]


def difference(one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> float:
    """The largest between two histories, whatever the figure."""
    pairs = zip(one, other, strict=True)
    return max(abs(first[name] - second[name]) for first, second in pairs for name in first)


def rank_process(job: Training, rank: int) -> int:
    """The process number of one rank of the host with this base folder."""
    wanted = {f"RANK={rank}".encode(), f"SAGEMAKER_BASE_DIR={job.base}".encode()}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                return int(folder.name)
        except OSError:  # it has ended, or is none of ours
            continue
    raise ProcessLookupError(f"there is no process of rank {rank} in {job.base}")
