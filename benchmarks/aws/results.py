"""Results of the AWS side: JSON in `build/aws/results`, and the table."""

from __future__ import annotations

from functools import partial

from benchmarks import summary
from benchmarks.machine import ROOT

FOLDER = ROOT / "build" / "aws" / "results"
publish = partial(summary.publish, folder=FOLDER)
