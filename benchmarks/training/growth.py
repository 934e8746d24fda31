"""How memory and time of a job's data grow with the records: from the table to what the training loop takes batches of.

A table, and the curves as a picture.

    python -m benchmarks.training.growth [--records 1000 … 1000000]

Each row is a process of its own. Memory is counted from after the imports, torch's among them: the peak up to the end
of each stage, and what stays. The tokenizer is trained on at most `tokenizer.MAX_TRAINED_LINES` lines, so that its time
stops growing there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.curve import Panel, svg
from benchmarks.training.items import SHAPES
from benchmarks.training.memory import forget_peak, peak_mb, resident_mb
from benchmarks.training.results import FOLDER, publish
from benchmarks.training.scan import MAX_CHARACTERS, RECORDS, TABLE, answering, measure

BATCH, BATCHES = 64, 200
STAGES = SCAN, DATASET, FINGERPRINT = "scan and clean", "dataset", "fingerprint"


def main() -> None:
    """Measure, print the table and write it down; or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=RECORDS)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measure()))
        return
    rows = measured(arguments.shapes, arguments.records)
    publish("growth", {"batch": BATCH}, rows)
    picture = FOLDER / "growth.svg"
    picture.write_text(svg(panels(rows)), encoding="utf-8")
    print(picture)


def measured(shapes: Sequence[str], records: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each shape and number of records."""
    rows = []
    for name in shapes:
        for count in records:
            with answering(SHAPES[name], count) as url:
                found = measure("benchmarks.training.growth", "all", url)
            rows.append({"shape": name, "records": count, **found})
    return rows


def panels(rows: Sequence[dict[str, Any]]) -> list[Panel]:
    """Two charts with a line for each shape of records."""

    def lines(value: Callable[[dict[str, Any]], float]) -> dict[str, Sequence[tuple[float, float]]]:
        shapes = dict.fromkeys(row["shape"] for row in rows)
        return {name: [(row["records"], value(row)) for row in rows if row["shape"] == name] for name in shapes}

    return [
        Panel(
            "Seconds from the table to batches", "records", lines(lambda row: sum(row[f"{name} s"] for name in STAGES))
        ),
        Panel(
            "Peak memory beyond the imports, MB",
            "records",
            lines(lambda row: max(row[f"{name} peak MB"] for name in STAGES)),
        ),
    ]


def _measure() -> dict[str, Any]:
    import numpy as np

    from ogiri.captioning.data.features import PictureArrays
    from ogiri.captioning.data.lines import drop_unfit
    from ogiri.captioning.data.scan import scan
    from ogiri.captioning.training.dataset import build_dataset
    from ogiri.captioning.training.examples import batch_order, collate
    from ogiri.captioning.training.fingerprint import data_fingerprint
    from ogiri.captioning.training.hyperparameters import CaptionHyperparameters

    forget_peak()
    before, found = resident_mb(), {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        found[f"{name} s"] = time.perf_counter() - clock
        found[f"{name} peak MB"] = peak_mb() - before
        clock = time.perf_counter()

    records, _ = drop_unfit(scan(TABLE, 1), MAX_CHARACTERS, lambda _: False)
    lap(SCAN)
    count = len(records.pictures)
    arrays = PictureArrays(np.zeros((count, 1, 1), np.float16), list(range(count)), [])
    dataset = build_dataset(records, arrays, CaptionHyperparameters())
    lap(DATASET)
    found["stays MB"] = resident_mb() - before
    clock = time.perf_counter()
    rng = np.random.default_rng(0)
    examples = dataset.train.examples
    batches = batch_order(examples.lines.lengths, BATCH, rng)[:BATCHES]
    for lines in batches:
        batch = collate(examples, lines, 1, 2, rng, 1.0)
        assert len(batch.lines) <= BATCH
    found["batches/s"] = len(batches) / (time.perf_counter() - clock)
    clock = time.perf_counter()
    data_fingerprint(dataset)
    lap(FINGERPRINT)
    return found


if __name__ == "__main__":
    main()
