"""Why torch finds no GPU: there is none, or there is a driver that it cannot use."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

DRIVER_FILE = Path("/proc/driver/nvidia/version")
ASK_SECONDS = 30.0  # a driver that nothing has used yet takes a few
LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version → that of the oldest driver that runs it.

https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""

_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)*)\b")


def driver_version(environ: Mapping[str, str], file: Path = DRIVER_FILE) -> str | None:
    """The NVIDIA driver's version, `535.104.05`, None where there is no driver.

    Args:
        environ: its `PATH` is where `nvidia-smi` is looked for.
        file: what the kernel says of the driver.
    """
    try:
        said = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        said = _ask(environ)
    found = _VERSION.search(said)
    return found[1] if found else None


def why_no_gpu(version: str | None, warned: Sequence[str], built_for: str | None = torch.version.cuda) -> str:
    """Why torch finds no GPU, with the way out.

    Args:
        version: of the driver, None where there is none.
        warned: what torch said when it looked.
        built_for: the CUDA version that torch was built for, None for a torch without CUDA.
    """
    if version is None:
        return "no GPU is found: take an instance type with one, such as ml.g5.xlarge"
    there = f"the NVIDIA driver {version} is there"
    if built_for is None:
        return f"{there}, and torch {torch.__version__} is built without CUDA: take the image that is built for GPUs"
    least = LEAST_DRIVER.get(int(built_for.split(".")[0]), 0)
    if int(version.split(".")[0]) < least or any("too old" in text for text in warned):
        need = f"{least} or newer" if least else "a newer one"
        return (
            f"the NVIDIA driver {version} is too old for CUDA {built_for}, which torch {torch.__version__} was built "
            f"for: it needs {need}; take an instance type whose driver is, or an image built for an older CUDA"
        )
    said = " ".join(warned[0].split()) if warned else "none is visible: is one given to the container (--gpus all)?"
    return f"{there}, and torch {torch.__version__} for CUDA {built_for} finds no GPU: {said}"


def _ask(environ: Mapping[str, str]) -> str:
    program = shutil.which("nvidia-smi", path=environ.get("PATH", ""))
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
