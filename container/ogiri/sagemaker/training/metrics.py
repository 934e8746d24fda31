"""Metrics as SageMaker reads them: by a regular expression from the log."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

METRICS = (
    "train_loss",
    "validation_loss",
    "validation_nats_per_character",
    "validation_bleu",
    "validation_cider",
    "validation_chrf",
    "validation_accuracy",
    "validation_macro_f1",
    "exported_nats_per_character",
    "baseline_nats_per_character",
)
"""What the tasks report by these names, whichever of them applies; a definition that finds nothing does no harm."""

_log = logging.getLogger(__name__)


def metric_definitions(names: Iterable[str] = METRICS) -> list[dict[str, str]]:
    """`MetricDefinitions` of a training job or tuning job: what `report` prints is what these expressions find."""
    return [{"Name": name, "Regex": rf"\b{name}=([-0-9.]+);"} for name in names]


def report(values: Mapping[str, float]) -> dict[str, float]:
    """Print one event as `train_loss=1.25; validation_loss=1.5;`, one line on stdout; returns what was printed.

    A value that is not finite is left out: no metric can hold it. Exponents are written out (`0.00001`), since an
    expression that looks for digits would read 1 from `1e-05`.
    """
    numbers = {name: float(value) for name, value in values.items()}
    for name, number in numbers.items():
        if not math.isfinite(number):
            _log.warning("%s is %s: not reported", name, number)
    finite = {name: number for name, number in numbers.items() if math.isfinite(number)}
    if finite:
        print(" ".join(f"{name}={_digits(number)};" for name, number in finite.items()), flush=True)
    return finite


def _digits(number: float) -> str:
    return format(Decimal(f"{number:.8g}"), "f")
