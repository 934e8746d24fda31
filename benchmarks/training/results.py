"""Results of training: JSON in `build/training/results`, and the table."""

from __future__ import annotations

from functools import partial

from benchmarks.machine import ROOT
from benchmarks.serving import summary

publish = partial(summary.publish, folder=ROOT / "build" / "training" / "results")
