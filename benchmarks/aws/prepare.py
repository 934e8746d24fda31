"""How time, memory and disk of `prepare` grow with an upload's rows. A table, and the curves as a picture.

    python -m benchmarks.aws.prepare [--rows 1000 10000 100000 1000000]

Each size is a process of its own, against moto's S3 in another; three pictures for five rows. Memory is the peak of the
whole process, Python and boto3 included, and Lambda's is what template.yaml gives the function. The exit code is 1
where a size takes more than half of it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.aws import account, upload
from benchmarks.aws.results import FOLDER, publish
from benchmarks.curve import Panel, svg
from benchmarks.machine import ROOT
from benchmarks.training.memory import MB, peak_mb
from local.aws import embedded_aws

ROWS = (1_000, 10_000, 100_000, 1_000_000)
SHARE = 0.6  # of pictures among rows
POLL_SECONDS = 0.2
URL = "https://pictures.example.com/photos/2026/"
ROOM = "uploads"


def main() -> None:
    """Measure, print the table, and write the picture beside the results; or be one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(_measure(given.measure)))
        return
    memory = memory_setting()
    rows = measured(given.rows)
    publish("prepare", {"Lambda's memory MB": memory}, rows)
    picture = FOLDER / "prepare.svg"
    picture.write_text(svg(panels(rows, memory)), encoding="utf-8")
    print(picture)
    sys.exit(any(row["peak MB"] > memory / 2 for row in rows))


def measured(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each size."""
    found = []
    with embedded_aws(bucket=ROOM, table=None) as aws:
        for rows in sizes:
            data = upload.table(URL, rows, round(SHARE * rows))
            aws.client("s3").put_object(Bucket=ROOM, Key=upload.KEY, Body=data)
            with tempfile.TemporaryDirectory() as disk:
                environment = {**account.environment(aws.endpoint_url, ROOM), "TMPDIR": disk}
                command = [sys.executable, "-m", "benchmarks.aws.prepare", "--measure", disk]
                run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            row = {"rows": rows, "CSV MB": len(data) / MB, **json.loads(run.stdout)}
            print(row, file=sys.stderr, flush=True)
            assert row.pop("lines") == rows
            found.append(row)
    return found


def memory_setting() -> int:
    """MB that template.yaml gives the function."""
    text = (ROOT / "template.yaml").read_text(encoding="utf-8")
    found = re.search(r"^  PrepareFunction:\n(?:(?:    .*)?\n)*?      MemorySize: (\d+)$", text, re.MULTILINE)
    assert found is not None, "template.yaml has no PrepareFunction with a MemorySize"
    return int(found[1])


def panels(rows: Sequence[dict[str, Any]], memory: int) -> list[Panel]:
    """Two curves, the second beside what the function has."""

    def line(name: str) -> list[tuple[float, float]]:
        return [(row["rows"], row[name]) for row in rows]

    limit = [(row["rows"], float(memory)) for row in rows]
    return [
        Panel("Seconds", "rows", {"prepare": line("seconds")}),
        Panel("Peak memory, MB", "rows", {"prepare": line("peak MB"), "Lambda's": limit}),
    ]


def _measure(disk: str) -> dict[str, Any]:
    import boto3

    from ogiri_aws.prepare import prepare
    from ogiri_aws.uploads import Upload

    s3 = boto3.client("s3")
    most = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            most[0] = max(most[0], sum(_bytes(path) for path in Path(disk).rglob("*")))

    thread = threading.Thread(target=watch)
    thread.start()
    before, start, spent = peak_mb(), time.perf_counter(), time.process_time()
    prepared = prepare(s3, Upload(ROOM, upload.KEY), ROOM, "measured")
    seconds, spent = time.perf_counter() - start, time.process_time() - spent
    over.set()
    thread.join()
    return {
        "pictures": prepared.pictures,
        "lines": prepared.lines,
        "seconds": seconds,
        "processor s": spent,
        "rows/s": prepared.rows / seconds,
        "before MB": before,
        "peak MB": peak_mb(),
        "disk MB": most[0] / MB,
    }


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # a temporary file of this moment
        return 0


if __name__ == "__main__":
    main()
