"""Results of training: JSON in `build/training/results`, and the table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import ROOT, measured
from benchmarks.serving.summary import markdown

RESULTS = ROOT / "build" / "training" / "results"


def publish(name: str, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `NAME.json` with what it was measured on, and print the table."""
    head = measured()
    RESULTS.mkdir(parents=True, exist_ok=True)
    out = RESULTS / f"{name}.json"
    document = {**head, "settings": dict(settings), "rows": list(rows)}
    out.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    described = ", ".join(f"{key} {value}" for key, value in settings.items())
    print(f"\n{name}: {described}\n{head['date']}, commit {head['commit']}, {head['cpu']}\n\n{markdown(rows)}\n\n{out}")
