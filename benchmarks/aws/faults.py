"""What is in the table after an ingest in which something went wrong, beside one that nobody disturbed.

    python -m benchmarks.aws.faults [--rows 200] [--pictures 120] [--faults NAME …]

S3 and DynamoDB are moto's, a call takes 10 ms longer than there. Every fault has a bucket and a table of its own, the
same upload, and functions in processes that are really killed. The exit code is 1 where a table or the pictures are
other than the undisturbed ones; analyses that were made again cost money, but change nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.aws import account, outside, state_machine, upload
from benchmarks.aws.results import publish
from benchmarks.aws.state_machine import Execution, Functions, Map
from local.aws import embedded_aws

ROWS, PICTURES = 200, 120
LATENCY = 0.01  # seconds
THROTTLED = 0.3
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        kills: functions that are killed while they work, spread over the records that are written.
        deliveries: of the event; more than one run at once.
        throttle: `rekognition`, `dynamodb` → the share of its calls that are refused.
        environment: more variables of the functions.
    """

    kills: int = 0
    deliveries: int = 1
    throttle: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


BOTH = {"dynamodb": THROTTLED, "rekognition": THROTTLED}
FAULTS = {
    "function killed in mid-batch": Fault(kills=5),
    "event delivered twice": Fault(deliveries=2),
    "DynamoDB throttles 30 %": Fault(throttle={"dynamodb": THROTTLED}),
    "Rekognition throttles 30 %": Fault(throttle={"rekognition": THROTTLED}),
    "both throttle 30 %, boto3 tries 3 times only": Fault(throttle=BOTH, environment={"AWS_MAX_ATTEMPTS": "3"}),
    "all at once": Fault(kills=5, deliveries=2, throttle=BOTH),
}


@dataclass(frozen=True)
class Scene:
    """Where it happens: the address of everything outside, the CSV, its rows, and the Map."""

    url: str
    csv: bytes
    rows: int
    over: Map


def main() -> None:
    """Let everything happen, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    given = parser.parse_args()
    rows = suffered({name: FAULTS[name] for name in given.faults}, given.rows, given.pictures)
    publish("faults", {"rows": given.rows, "pictures": given.pictures, "latency s": LATENCY}, rows)
    sys.exit(any(row["wrong"] for row in rows))


def suffered(faults: Mapping[str, Fault], rows: int, pictures: int, over: Map | None = None) -> list[dict[str, Any]]:
    """A row for an undisturbed ingest, and one for each fault.

    Args:
        faults: by name.
        rows: of the upload.
        pictures: that they are about.
        over: the Map, by default the one that is deployed.
    """
    with tempfile.TemporaryDirectory() as name, embedded_aws(bucket=None, table=None) as aws:
        folder = Path(name)
        upload.draw(folder, pictures)
        with outside.started(folder, "--latency", str(LATENCY), "--forward", aws.endpoint_url) as url:
            csv = upload.table(url + outside.PICTURES, rows, pictures)
            scene = Scene(url, csv, rows, over or state_machine.definition())
            found = [{"fault": "none", **_played(scene, "undisturbed", Fault())}]
            found[0] |= _compared(url, "undisturbed", "undisturbed", rows, found[0]["failed"])
            for number, (named, fault) in enumerate(faults.items()):
                row = {"fault": named, **_played(scene, f"room-{number}", fault)}
                row |= _compared(url, "undisturbed", f"room-{number}", rows, row["failed"])
                print(row, file=sys.stderr, flush=True)
                found.append(row)
    return found


def _played(scene: Scene, room: str, fault: Fault) -> dict[str, Any]:
    outside.begin(scene.url)
    account.open_room(scene.url, room)
    s3 = account.client("s3", scene.url)
    s3.put_object(Bucket=room, Key=upload.KEY, Body=scene.csv)
    environment = {**account.environment(scene.url, room), **fault.environment}
    with (
        closing(Functions("prepare", environment, fault.deliveries)) as prepare,
        closing(Functions("ingest", environment, scene.over.concurrency)) as ingest,
    ):
        outside.begin(scene.url, throttle=fault.throttle)
        start = time.perf_counter()
        with _killing(scene, ingest, fault.kills) as killed, ThreadPoolExecutor(fault.deliveries) as pool:
            event = {"bucket": room, "key": upload.KEY, "version": "1"}
            names = [f"delivery-{number}" for number in range(fault.deliveries)]
            executions: list[Execution] = list(
                pool.map(lambda name: state_machine.run(prepare, ingest, s3, event, name, scene.over), names)
            )
        seconds = time.perf_counter() - start
    counted = outside.counts(scene.url)
    outside.begin(scene.url)  # what is read from now on is not refused
    return {
        "seconds": seconds,
        "kills": len(killed),
        "tried again": sum(execution.retries for execution in executions),
        "calls": counted["calls"],
        "refused": sum(counted.get(f"{service} throttled", 0) for service in BOTH),
        "failed": sum(execution.report.get("failed", 0) for execution in executions),
        "analysed again": counted["again"],
    }


def _compared(url: str, expected: str, room: str, rows: int, failed: int) -> dict[str, Any]:
    """How a table and its pictures differ from the undisturbed ones."""
    before, after = account.records(url, expected), account.records(url, room)
    found = different(before, after)
    wrong = [f"{count} {name}" for name, count in found.items() if count]
    if len(before) != rows:
        wrong.append(f"{len(before)} records of {rows} rows")
    if failed:
        wrong.append(f"{failed} reported as failed")
    if account.pictures(url, expected) != account.pictures(url, room):
        wrong.append("other pictures")
    return {"records": len(after), **found, "wrong": ", ".join(wrong)}


def different(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[str, int]:
    """How many records are lost, made up and changed."""
    return {
        "lost": len(before.keys() - after.keys()),
        "added": len(after.keys() - before.keys()),
        "changed": sum(after[key] != before[key] for key in before.keys() & after.keys()),
    }


@contextmanager
def _killing(scene: Scene, functions: Functions, kills: int) -> Iterator[list[int]]:
    """Kill so many functions while a block lasts, each after its share of the records; yields when it happened."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < kills and not over.wait(POLL_SECONDS):
            written = outside.counts(scene.url).get("PutItem", 0)
            if written >= (len(killed) + 0.5) * scene.rows / kills and functions.kill_one():
                killed.append(written)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
