"""Percentiles, and tables in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, measured

RESULTS = ROOT / "build" / "serving" / "results"
NOTHING = "–"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed: none is made up between two of them.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is no percentile of nothing")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table whose columns are the names of all rows, in the order in which they first come.

    What a row lacks, or has as None, is a dash. Numbers are written with three digits that count.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(name)) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(name: str, settings: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path = RESULTS) -> None:
    """Write `NAME.json` into `folder` with what it was measured on, and print the table."""
    head = measured()
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f"{name}.json"
    document = {**head, "settings": dict(settings), "rows": list(rows)}
    out.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    described = ", ".join(f"{key} {value}" for key, value in settings.items())
    print(f"\n{name}: {described}\n{head['date']}, commit {head['commit']}, {head['cpu']}\n\n{markdown(rows)}\n\n{out}")


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
