"""Which engine an artifact runs on: ONNX Runtime on the CPU, or torch on a GPU.

A GPU is taken where `nvidia-smi` lists one and the artifact carries its weights (`export_weights`), because only torch
runs there and it needs them. `OGIRI_ENGINE` decides otherwise: `cpu`, or `gpu`, which fails where there is none.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.interface import CaptionEngine
from ogiri.captioning.serving.settings import DECODER_WEIGHTS, ENCODER_WEIGHTS, Settings, read_network

VARIABLE = "OGIRI_ENGINE"
AUTO, CPU, GPU = CHOICES = ("auto", "cpu", "gpu")
LIST_SECONDS = 30.0  # a driver that nothing has used yet takes a few

_TRAIN_AGAIN = "train with the hyperparameter export_weights=true"

log = logging.getLogger(__name__)


def open_engine(
    folder: Path, manifest: Mapping[str, Any], settings: Settings, threads: int | None = None
) -> CaptionEngine:
    """The engine of an artifact, encoder included.

    Args:
        folder: where its files lie.
        manifest: of the artifact.
        settings: of the manifest.
        threads: of a graph on the CPU, see `Engine`.

    Raises:
        ValueError: a file, the manifest or `OGIRI_ENGINE` is not as it must be; the message says how to mend it.
    """
    if choose(manifest, os.environ) == GPU:
        return _open_on_gpu(folder, manifest, settings)
    return Engine(folder / settings.decoder_graph, settings.state, folder / settings.encoder_graph, threads)


def choose(manifest: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """`cpu` or `gpu`; torch is not imported to find out.

    Args:
        manifest: of the artifact.
        environ: `OGIRI_ENGINE` and `PATH` are read.

    Raises:
        ValueError: `OGIRI_ENGINE` is none of `CHOICES`, or `gpu` for an artifact without weights.
    """
    asked = environ.get(VARIABLE, "").strip() or AUTO
    if asked not in CHOICES:
        raise ValueError(f"{VARIABLE} is {asked!r}: it must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")
    if asked == CPU:
        return CPU
    carried = all(name in manifest.get("files", {}) for name in (ENCODER_WEIGHTS, DECODER_WEIGHTS))
    if asked == GPU:
        if not carried:
            raise ValueError(
                f"{VARIABLE} is gpu and the artifact has no {ENCODER_WEIGHTS} and {DECODER_WEIGHTS}: "
                f"{_TRAIN_AGAIN}, or set {VARIABLE}=cpu"
            )
        return GPU
    gpus = listed_gpus(environ)
    if not gpus:
        return CPU
    if not carried:
        log.warning(
            "the CPU is used although there is a GPU (%s): the artifact carries no weights, which a GPU needs; "
            "%s to use it, or take an instance without one",
            gpus[0],
            _TRAIN_AGAIN,
        )
        return CPU
    return GPU


def listed_gpus(environ: Mapping[str, str]) -> list[str]:
    """What `nvidia-smi -L` lists: `GPU 0: NVIDIA A10G (UUID: …)`; nothing where it is not on PATH."""
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return []
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=LIST_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).strip()
        log.warning("the CPU is used: nvidia-smi -L ends with %d: %s", error.returncode, said)
        return []
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("the CPU is used: nvidia-smi -L does not answer: %s", error)
        return []
    return [line for line in done.stdout.splitlines() if line.startswith("GPU ")]


def _open_on_gpu(folder: Path, manifest: Mapping[str, Any], settings: Settings) -> CaptionEngine:
    network = read_network(manifest)
    try:
        from ogiri.captioning.serving.torch_engine import open_torch_engine
    except ImportError as error:
        raise ValueError(
            f"a GPU is to be used and {error.name} is not installed: install requirements/training.txt, "
            f"or set {VARIABLE}=cpu"
        ) from error
    return open_torch_engine(folder, settings, network)
