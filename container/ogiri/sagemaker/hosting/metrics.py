"""Metrics for CloudWatch: one line of JSON on stdout for each model and interval, in the embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ogiri.task import Measured, Predictor

NAMESPACE = "ogiri"
NO_MODEL = "none"
"""What stands for the model where a request was refused before it reached one."""

PERCENTILES = (50, 95, 99)


@dataclass
class _Counts:
    """Of one model, since the last report."""

    requests: int = 0
    errors: int = 0
    server_errors: int = 0
    milliseconds: list[int] = field(default_factory=list)


class Metrics:
    """What happened since the last report. May be used by several threads at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, _Counts] = {}
        self._watched: weakref.WeakKeyDictionary[Predictor, tuple[str, Mapping[str, float]]] = (
            weakref.WeakKeyDictionary()
        )
        self._since = time.monotonic()
        self._ended = threading.Event()

    def watch(self, model: str, predictor: Predictor) -> None:
        """Report the counters of a predictor too, if it has some, as long as it lives."""
        if isinstance(predictor, Measured):
            with self._lock:
                self._watched.setdefault(predictor, (model, {}))

    def count(self, model: str, status: int, *, failed: bool, milliseconds: int) -> None:
        """Count a request that has been answered; a stream may have `failed` after a good status."""
        with self._lock:
            counts = self._counts.setdefault(model, _Counts())
            counts.requests += 1
            counts.errors += failed
            counts.server_errors += status >= 500
            counts.milliseconds.append(milliseconds)

    def start(self, seconds: float) -> None:
        """Print a report every `seconds`, in a thread of its own, until `end`."""
        threading.Thread(target=self._run, args=(seconds,), name="metrics", daemon=True).start()

    def end(self) -> None:
        """Print the last report."""
        self._ended.set()
        self._print()

    def report(self, seconds: float) -> list[dict[str, object]]:
        """What happened within these `seconds`, a document for each model; none where nothing has."""
        with self._lock:
            counts, self._counts = self._counts, {}
            increases = self._increases()
        documents = []
        for model in sorted(counts.keys() | increases.keys()):
            metrics = _of_requests(counts[model]) if model in counts else {}
            metrics |= _of_work(increases.get(model, {}), seconds)
            documents.append(_document(model, metrics))
        return documents

    def _increases(self) -> dict[str, dict[str, float]]:
        """Model → counter → by how much it has grown; only models where one has."""
        found: dict[str, dict[str, float]] = {}
        for predictor, (model, before) in list(self._watched.items()):
            assert isinstance(predictor, Measured)  # noqa: S101 - tells mypy what `watch` has seen to
            now = dict(predictor.statistics())
            self._watched[predictor] = model, now
            grown = found.setdefault(model, {})
            for name, value in now.items():
                grown[name] = grown.get(name, 0) + value - before.get(name, 0)
        return {model: grown for model, grown in found.items() if any(grown.values())}

    def _run(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            self._print()

    def _print(self) -> None:
        seconds, self._since = time.monotonic() - self._since, time.monotonic()
        for document in self.report(seconds):
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def percentile(ordered: Sequence[int], share: int) -> int:
    """The smallest value that at least `share` per cent do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def _of_requests(counts: _Counts) -> dict[str, tuple[float, str]]:
    ordered = sorted(counts.milliseconds)
    return {
        "Requests": (counts.requests, "Count"),
        "Errors": (counts.errors, "Count"),
        "ServerErrors": (counts.server_errors, "Count"),
        **{f"LatencyP{share}": (percentile(ordered, share), "Milliseconds") for share in PERCENTILES},
    }


def _of_work(increases: Mapping[str, float], seconds: float) -> dict[str, tuple[float, str]]:
    metrics = {}
    for name, increase in increases.items():
        metrics[name.title()] = increase, "Count"
        metrics[f"{name.title()}PerSecond"] = round(increase / max(seconds, 1e-3), 3), "Count/Second"
    if steps := increases.get("steps"):
        metrics["BatchSize"] = round(increases.get("tokens", 0) / steps, 3), "Count"
    return metrics


def _document(model: str, metrics: Mapping[str, tuple[float, str]]) -> dict[str, object]:
    definitions = [{"Name": name, "Unit": unit} for name, (_, unit) in metrics.items()]
    directive = {"Namespace": NAMESPACE, "Dimensions": [["Model"]], "Metrics": definitions}
    return {
        "_aws": {"Timestamp": round(time.time() * 1000), "CloudWatchMetrics": [directive]},
        "Model": model,
        **{name: value for name, (value, _) in metrics.items()},
    }
