"""A training job that is done in seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.contract.training import Row, Training


def prepare(base: Path, hyperparameters: Mapping[str, str]) -> Training:
    """A small /opt/ml: pictures, records, hyperparameters."""
    job = Training(base, hyperparameters)
    rows = [Row(f"picture-{n}.png", f"会議はまだ続く{n}", n) for n in range(12)]
    job.draw(rows)
    job.list(row.item() for row in rows)
    job.config("hyperparameters", json.dumps(dict(hyperparameters)))
    return job
