"""`container/train` with checkpoints closer to each other than a job of hours needs them.

SAGEMAKER_BASE_DIR=/tmp/ml python -m benchmarks.training.often SECONDS
"""

from __future__ import annotations

import runpy
import sys

from benchmarks.machine import ROOT

CONTAINER = ROOT / "container"


def main() -> None:
    """Set both intervals, and be `container/train` from then on."""
    sys.path.insert(0, str(CONTAINER))
    from ogiri.sagemaker.training import signals

    signals.install()  # before torch is imported, as `train` does it
    from ogiri.captioning.training import fit, walk

    fit.CHECKPOINT_EVERY_SECONDS = walk.CHECKPOINT_EVERY_SECONDS = float(sys.argv[1])
    runpy.run_path(str(CONTAINER / "train"), run_name="__main__")


if __name__ == "__main__":
    main()
