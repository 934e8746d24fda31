"""How fast an upload becomes records, beside the row-by-row loop that people write.

    python -m benchmarks.aws.ingest [--rows 1000] [--pictures 600] [--latency 0.05] [--quotas 500 50] [--no-loop]

Every outside call takes `--latency`: picture servers, Rekognition, S3, DynamoDB. Rekognition answers `--quotas` calls
of each operation a second, and refuses more as AWS does; the loop has the first. Ours is `prepare` and the state
machine's batches; its functions are started before the clock, as the loop's imports are done before it. The exit code
is 1 where the tables differ, or ours asked Rekognition about a picture more than once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.aws import account, outside, state_machine, upload
from benchmarks.aws.results import publish
from benchmarks.aws.state_machine import Functions

ROWS, PICTURES = 1_000, 600
LATENCY = 0.05  # seconds
QUOTAS = (500.0, 50.0)  # calls a second of each operation
LOOP, OURS = "row by row", "state machine"


def main() -> None:
    """Measure, print the table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--latency", type=float, default=LATENCY)
    parser.add_argument("--quotas", type=float, nargs="+", default=QUOTAS)
    parser.add_argument("--no-loop", action="store_true")
    given = parser.parse_args()
    contenders = [] if given.no_loop else [(LOOP, given.quotas[0])]
    contenders += [(OURS, quota) for quota in given.quotas]
    rows = measured(given.rows, given.pictures, given.latency, contenders, state_machine.definition())
    settings = {"rows": given.rows, "pictures": given.pictures, "latency s": given.latency}
    publish("ingest", settings, rows)
    sys.exit(any(row["wrong"] for row in rows))


def measured(
    rows: int, pictures: int, latency: float, contenders: list[tuple[str, float]], over: state_machine.Map
) -> list[dict[str, Any]]:
    """A row for each contender, `(LOOP or OURS, quota)`; the first one's table is what the others are compared with.

    Args:
        rows: of the upload.
        pictures: that they are about.
        latency: seconds.
        contenders: in this order.
        over: the Map of ours.
    """
    found: list[dict[str, Any]] = []
    tables: list[account.Records] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        upload.draw(folder / "pictures", pictures)
        with outside.started(folder / "pictures", "--latency", str(latency)) as url:
            data = upload.table(url + outside.PICTURES, rows, pictures)
            (folder / "rows.csv").write_bytes(data)
            for number, (what, quota) in enumerate(contenders):
                room = f"room-{number}"
                account.client("s3", url).put_object(Bucket=room, Key=upload.KEY, Body=data)
                outside.begin(url, quota)
                environment = account.environment(url, room)
                seconds = _loop(folder, environment) if what == LOOP else _ours(url, environment, over)
                counted = outside.counts(url)
                tables.append(account.records(url, room))
                row = _row(what, quota, rows, seconds, counted)
                row["wrong"] = _wrong(row, tables, rows)
                if number and contenders[0][0] == LOOP:
                    row["times as fast"] = found[0]["seconds"] / seconds
                print(row, file=sys.stderr, flush=True)
                found.append(row)
    return found


def _row(what: str, quota: float, rows: int, seconds: float, counted: Mapping[str, int]) -> dict[str, Any]:
    return {
        "what": what,
        "quota": quota,
        "seconds": seconds,
        "rows/s": rows / seconds,
        "calls": counted["calls"],
        "throttled": counted.get("rekognition throttled", 0),
        "pictures analysed": counted["analysed"],
        "analysed again": counted["again"],
    }


def _wrong(row: Mapping[str, Any], tables: list[account.Records], rows: int) -> str:
    wrong = []
    if len(tables[-1]) != rows:
        wrong.append(f"{len(tables[-1])} records")
    if tables[-1] != tables[0]:
        wrong.append("another table")
    if row["what"] == OURS and row["analysed again"]:
        wrong.append("analysed again")
    return ", ".join(wrong)


def _loop(folder: Path, environment: Mapping[str, str]) -> float:
    room = environment["BUCKET"]
    command = [sys.executable, "-m", "benchmarks.aws.row_by_row", str(folder / "rows.csv"), room, room]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return float(run.stdout)


def _ours(url: str, environment: Mapping[str, str], over: state_machine.Map) -> float:
    with (
        closing(Functions("prepare", environment, 1)) as prepare,
        closing(Functions("ingest", environment, over.concurrency)) as ingest,
    ):
        event = {"bucket": environment["BUCKET"], "key": upload.KEY}
        start = time.perf_counter()
        state_machine.run(prepare, ingest, account.client("s3", url), event, "measured", over)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
