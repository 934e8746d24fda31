"""Jobs killed again and again, and one that nobody disturbs: do all end with the same weights?

    python -m benchmarks.training.kill [--kills 20] [--seed 0]

SIGKILL comes at a random moment after each start: while torch is imported, while pictures are read, within an epoch,
in validation, in export; a job that reached its end all the same is followed by another. Compared are the training
weights, both graphs and the tokenizer byte for byte, and the figures of every epoch. The exit code is 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.job import CHECKPOINT_SECONDS, DEADLINE_SECONDS, Job
from benchmarks.training.results import publish

KILLS = 20
SPREAD = 2.0  # of the kills over the work: each leaves as much as this many kills would share evenly, at most


def main() -> None:
    """Run the jobs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        differences = compared(Path(folder), arguments.kills, np.random.default_rng(arguments.seed))
    print(f"\ndifferent: {', '.join(differences) or 'nothing'}")
    sys.exit(bool(differences))


def compared(folder: Path, kills: int, rng: np.random.Generator) -> list[str]:
    """All jobs below `folder`; the names of what differs from the undisturbed one."""
    whole = Job(folder / "whole")
    first_step, end = undisturbed(whole)
    most = first_step + SPREAD * (end - first_step) / max(1, kills)
    rows: list[dict[str, Any]] = []
    differences: list[str] = []
    jobs = 0
    while sum(row["ended with"] < 0 for row in rows) < kills:
        job, jobs = Job(folder / f"killed.{jobs}"), jobs + 1
        job.lay_out()
        while not rows or rows[-1]["job"] != jobs or rows[-1]["ended with"] < 0:
            over = sum(row["ended with"] < 0 for row in rows) >= kills
            rows.append({"job": jobs, **blow(job, None if over else rng.uniform(0.0, most))})
            print(rows[-1], file=sys.stderr, flush=True)
        if rows[-1]["ended with"]:
            raise RuntimeError(f"a job that was killed ended with {rows[-1]['ended with']}: {job.failure()}")
        found = different(whole, job)
        rows[-1]["different"] = ", ".join(found) or "nothing"
        differences += found
    settings = {
        "kills": kills,
        "undisturbed seconds": round(end, 1),
        "seconds between checkpoints": CHECKPOINT_SECONDS,
        "files compared": len(whole.left()),
        "different": ", ".join(differences) or "nothing",
    }
    publish("kill", settings, rows)
    return differences


def different(whole: Job, job: Job) -> list[str]:
    """The names of what a job left otherwise than the undisturbed one."""
    expected, found = whole.left(), job.left()
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return names if whole.history() == job.history() else [*names, "history"]


def undisturbed(job: Job) -> tuple[float, float]:
    """Seconds until its first checkpoint, and until its end."""
    job.lay_out()
    began = time.monotonic()
    process = job.start()
    job.wait(process, (job.base / "checkpoints" / "training.pt").exists)
    first_step = time.monotonic() - began
    if process.wait(DEADLINE_SECONDS):
        raise RuntimeError(f"the undisturbed job failed: {job.failure()}")
    return first_step, time.monotonic() - began


def blow(job: Job, seconds: float | None) -> dict[str, Any]:
    """Start the job, and kill it so many seconds later; None = let it end."""
    began, process = time.monotonic(), job.start()
    try:
        process.wait(DEADLINE_SECONDS if seconds is None else seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    stood = job.stands()
    return {
        "after seconds": round(time.monotonic() - began, 2),
        "part": stood.get("part", "start" if process.returncode else "end"),
        "epochs done": stood.get("epoch"),
        "it said": went_on(job),
        "ended with": process.returncode,
    }


def went_on(job: Job) -> str:
    """What the last run said of where it goes on."""
    return job.said("going on from the checkpoint", "from the beginning")


if __name__ == "__main__":
    main()
