"""How fast a table is read, and in how much memory, beside the loop that people write.

    python -m benchmarks.training.scan [--records 1000 … 1000000] [--plain-most 100000]

The table is `benchmarks.training.responder`, a process of its own, so that the client alone is measured; two shapes of
records. Each row is a process of its own, which imports no torch: `scan` reads the table with `captioning.data.scan`,
leaves lines out and splits the pictures, as a job does; `plain loop` is boto3's `Table.scan`, page after page, into a
list, and does nothing with it. Its list takes gigabytes, so it is measured up to `--plain-most` records.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.training.items import SHAPES, Shape, segments
from benchmarks.training.memory import peak_mb
from benchmarks.training.responder import prepare
from benchmarks.training.results import publish
from ogiri.captioning.data.scan import SEGMENTS

RECORDS = (1_000, 10_000, 100_000, 1_000_000)
PLAIN_MOST = 100_000
OURS, PLAIN = "scan", "plain loop"
TABLE, SEED, HELD_OUT, MAX_CHARACTERS = "Measured", 0, 0.05, 200


def main() -> None:
    """Measure, print the table and write it down; or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=RECORDS)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--plain-most", type=int, default=PLAIN_MOST)
    parser.add_argument("--measure", choices=MEASURED, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(MEASURED[arguments.measure]()))
        return
    rows = []
    for name in arguments.shapes:
        for records in arguments.records:
            rows += _rows(SHAPES[name], records, records <= arguments.plain_most)
    publish("scan", {"segments": SEGMENTS}, rows)


def _rows(shape: Shape, records: int, plain: bool) -> list[dict[str, Any]]:
    with answering(shape, records) as url:
        ours = measure("benchmarks.training.scan", OURS, url)
        found = [{"shape": shape.name, "records": records, "what": OURS, **ours}]
        if plain:
            theirs = measure("benchmarks.training.scan", PLAIN, url)
            found.append({"shape": shape.name, "records": records, "what": PLAIN, **theirs})
            ours["times as fast"] = found[0]["times as fast"] = theirs["scan s"] / ours["scan s"]
    return found


@contextmanager
def answering(shape: Shape, records: int) -> Iterator[str]:
    """A table of made-up records in a process of its own; its address."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), segments(records, shape, SEGMENTS))
        command = [sys.executable, "-m", "benchmarks.training.responder", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def measure(module: str, what: str, url: str) -> dict[str, Any]:
    """What a process of this module finds."""
    region = {"AWS_DEFAULT_REGION": "ap-northeast-1", "AWS_ENDPOINT_URL": url}
    environment = {**os.environ, **region, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    command = [sys.executable, "-m", module, "--measure", what]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def _measure_ours() -> dict[str, float]:
    from ogiri.captioning.data.lines import drop_unfit
    from ogiri.captioning.data.scan import scan
    from ogiri.captioning.data.split import split

    start = time.perf_counter()
    records = scan(TABLE, 1)
    scanned, scan_peak = time.perf_counter(), peak_mb()
    count = len(records)
    kept, _ = drop_unfit(records, MAX_CHARACTERS, lambda _: False)
    cleaned = time.perf_counter()
    train, held_out = split(kept.pictures.keys, SEED, HELD_OUT)
    sides = kept.select(train), kept.select(held_out)
    ended = time.perf_counter()
    assert sum(map(len, sides)) == count
    assert "torch" not in sys.modules
    return {
        **_figures(count, scanned - start),
        "scan peak MB": scan_peak,
        "clean s": cleaned - scanned,
        "split s": ended - cleaned,
        "peak MB": peak_mb(),
    }


def _measure_plain() -> dict[str, float]:
    import boto3

    start = time.perf_counter()
    table = boto3.resource("dynamodb").Table(TABLE)
    items: list[dict[str, Any]] = []
    for segment in range(SEGMENTS):  # the prepared pages are cut so; one after the other, it makes no difference
        page = table.scan(Segment=segment, TotalSegments=SEGMENTS)
        items += page["Items"]
        while "LastEvaluatedKey" in page:
            after = page["LastEvaluatedKey"]
            page = table.scan(Segment=segment, TotalSegments=SEGMENTS, ExclusiveStartKey=after)
            items += page["Items"]
    return {**_figures(len(items), time.perf_counter() - start), "peak MB": peak_mb()}


def _figures(records: int, seconds: float) -> dict[str, float]:
    return {"records/s": records / seconds, "scan s": seconds}


MEASURED = {OURS: _measure_ours, PLAIN: _measure_plain}


if __name__ == "__main__":
    main()
