"""On what a job ran, and how to run it again."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters

IMAGE, COMMIT = "OGIRI_IMAGE", "OGIRI_COMMIT"  # variables that a built image may say these with
TABLE = "DYNAMODB_TABLE_NAME"
_CREDENTIALS = ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def machine(device: torch.device) -> dict[str, str]:
    """What computed, in words."""
    found = {"processor": f"{len(os.sched_getaffinity(0))} × {_processor()}", "threads": str(torch.get_num_threads())}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["GPU"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    else:
        found["GPU"] = "none"
    return found


def versions() -> dict[str, str]:
    """Of what a result may depend on."""
    return {
        "Python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": importlib.metadata.version("torchvision"),
        "ONNX Runtime": str(onnxruntime.__version__),
        "NumPy": str(np.__version__),
    }


def changed(hp: CaptionHyperparameters) -> dict[str, str]:
    """The hyperparameters that differ from the defaults, as `hyperparameters.json` holds them."""
    defaults = dataclasses.asdict(type(hp)())
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in dataclasses.asdict(hp).items()
        if value != defaults[name]
    }


def reproduction(
    job_name: str,
    hp: CaptionHyperparameters,
    channels: Iterable[str],
    data_fingerprint: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """What metrics.json says of running the job again: the command, and what must be the same."""
    channels = sorted(channels)
    return {
        "command": command(job_name, hp, channels, environment),
        "channels": channels,
        "data_fingerprint": data_fingerprint,
        "image": environment.get(IMAGE, ""),
        "commit": environment.get(COMMIT, ""),
    }


def command(job_name: str, hp: CaptionHyperparameters, channels: Iterable[str], environment: Mapping[str, str]) -> str:
    """Lines for a shell: the folders, hyperparameters.json, `docker run … train`."""
    channels = list(channels)
    folders = " ".join(f"ml/input/data/{shlex.quote(channel)}" for channel in channels)
    settings = [f"-e TRAINING_JOB_NAME={shlex.quote(job_name)}"]
    if "records" not in channels:
        table = environment.get(TABLE)
        settings += [f"-e {TABLE}={shlex.quote(table)}"] if table else []
        settings += [f"-e {name}" for name in _CREDENTIALS]
    image = shlex.quote(environment.get(IMAGE) or "IMAGE")
    return "\n".join(
        [
            f"mkdir -p ml/input/config {folders}  # and put into them what the job's channels held",
            "cat > ml/input/config/hyperparameters.json <<'JSON'",
            json.dumps(changed(hp), ensure_ascii=False),
            "JSON",
            f'docker run --rm -v "$PWD/ml:/opt/ml" {" ".join(settings)} {image} train',
        ]
    )


def _processor() -> str:
    """Linux tells the model's name here; `platform.processor()` is often empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
