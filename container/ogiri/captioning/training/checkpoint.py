"""The one file that a restarted job goes on from, written whole or not at all."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)


def save_checkpoint(path: Path, values: dict[str, Any]) -> None:
    """Write to a temporary name, then replace: SageMaker copies the folder to S3 at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".sagemaker-ignore")
    torch.save(values, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The checkpoint, or None where there is none, it is broken or it belongs to other data or hyperparameters."""
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        log.warning("%s cannot be read (%s): training starts from the beginning", path, error)
        return None
    if values.get("fingerprint") != fingerprint:
        log.warning("%s is of other data or hyperparameters: training starts from the beginning", path)
        return None
    return values
