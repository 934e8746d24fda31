"""Metrics as SageMaker reads them: by a regular expression from the log."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from decimal import Decimal

_log = logging.getLogger(__name__)


def report(values: Mapping[str, float]) -> None:
    """Print one event as `train_loss=1.25; validation_loss=1.5;`, one line on stdout.

    A value that is not finite is left out: no metric can hold it. Exponents are written out (`0.00001`), since an
    expression that looks for digits would read 1 from `1e-05`.
    """
    numbers = {name: float(value) for name, value in values.items()}
    for name, number in numbers.items():
        if not math.isfinite(number):
            _log.warning("%s is %s: not reported", name, number)
    pairs = [f"{name}={_digits(number)};" for name, number in numbers.items() if math.isfinite(number)]
    if pairs:
        print(" ".join(pairs), flush=True)


def _digits(number: float) -> str:
    return format(Decimal(f"{number:.8g}"), "f")
