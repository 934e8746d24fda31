"""The log of a training job: metrics and prints on stdout, everything else on stderr, nothing held back."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys

from ogiri.sagemaker.training.environment import RANK_FAILURES


def configure() -> None:
    """Write each line at once and in UTF-8 whatever the locale, and leave a trace if native code crashes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable()
    rank = os.environ["RANK"] if RANK_FAILURES in os.environ else "0"
    level, who = (logging.INFO, "") if rank == "0" else (logging.WARNING, f"rank {rank} ")  # all do the same
    form = f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s"
    logging.basicConfig(level=level, format=form, stream=sys.stderr)
