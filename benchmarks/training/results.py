"""Results of training: JSON in `build/training/results`, and the table."""

from __future__ import annotations

from functools import partial

from benchmarks import summary
from benchmarks.machine import ROOT

FOLDER = ROOT / "build" / "training" / "results"
publish = partial(summary.publish, folder=FOLDER)
