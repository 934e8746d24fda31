"""The log of a training job: metrics and prints on stdout, everything else on stderr, nothing held back."""

from __future__ import annotations

import faulthandler
import io
import logging
import sys


def configure() -> None:
    """Write each line at once and in UTF-8 whatever the locale, and leave a trace if native code crashes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
