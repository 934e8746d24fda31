"""How memory and time of a job's data grow with the records: from the table to what the training loop takes batches of.

    python -m benchmarks.training.growth [--records 1000 … 1000000]

Each row is a process of its own. Memory is counted from after the imports, torch's among them: the peak up to the end
of each stage, and what stays. The tokenizer is trained on at most `tokenizer.MAX_TRAINED_LINES` lines, so that its time
stops growing there.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from benchmarks.training.items import SHAPES
from benchmarks.training.memory import forget_peak, peak_mb, resident_mb
from benchmarks.training.results import publish
from benchmarks.training.scan import MAX_CHARACTERS, RECORDS, TABLE, answering, measure

BATCH, BATCHES = 64, 200


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
    rows = []
    for name in arguments.shapes:
        for records in arguments.records:
            with answering(SHAPES[name], records) as url:
                found = measure("benchmarks.training.growth", "all", url)
            rows.append({"shape": name, "records": records, **found})
    publish("growth", {"batch": BATCH}, rows)


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
    lap("scan and clean")
    count = len(records.pictures)
    arrays = PictureArrays(np.zeros((count, 1, 1), np.float16), list(range(count)), [])
    dataset = build_dataset(records, arrays, CaptionHyperparameters())
    lap("dataset")
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
    lap("fingerprint")
    return found


if __name__ == "__main__":
    main()
