"""What whoever started a job sees when something goes wrong with it, and what is left.

    python -m benchmarks.training.faults [--faults NAME …]

Every fault happens to a small real job. The columns: how it ended, the seconds from the fault to its end, what lies in
model/ then, and what is read first: the first line of output/failure, or a line of the log. Full disks need the right
to mount, and a clock that jumps needs libfaketime. The exit code is 1 where a job ended in another way than it must.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.training.job import DEADLINE_SECONDS, ROWS, Job
from benchmarks.training.responder import Trouble, prepare, responding
from benchmarks.training.results import publish
from ogiri.artifact import ArtifactError, open_artifact

MEMORY_BYTES = 3_000_000_000  # more than torch takes at its start
SEGMENTS = 4  # of a scan with its own settings
LONG = {"epochs": "10000"}

Row = dict[str, Any]


def main() -> None:
    """Let everything happen, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    rows = []
    for name in parser.parse_args().faults:
        with tempfile.TemporaryDirectory() as folder:
            rows.append({"fault": name, **FAULTS[name](Path(folder))})
        print(rows[-1], file=sys.stderr, flush=True)
    publish("faults", {"faults": len(rows)}, rows)
    sys.exit(any(row["wrong"] for row in rows))


# --- asked to end


def asked_to_end(reached: Callable[[Job], bool], said: str, **hyperparameters: str) -> Callable[[Path], Row]:
    """SIGTERM as soon as a job has reached a point."""

    def play(folder: Path) -> Row:
        job = Job(folder, {**LONG, **hyperparameters}, checkpoint_seconds=0)
        job.lay_out()
        process = job.start()
        job.wait(process, lambda: reached(job))
        return ended(job, process, signalled(process, signal.SIGTERM), code=0, said=said)

    return play


def at_part(part: str) -> Callable[[Job], bool]:
    """Whether a job is at this part."""
    return lambda job: job.stands().get("part") == part


def in_first_epoch(job: Job) -> bool:
    """Whether some batch of the first epoch is done."""
    return (job.base / "checkpoints" / "training.pt").exists()


def in_validation(job: Job) -> bool:
    """Whether the first epoch is being validated."""
    return "epoch 1: validating" in job.log()


# --- the disk


def full_disk(part: str, megabytes: int, **hyperparameters: str) -> Callable[[Path], Row]:
    """One folder of the job is a small disk of its own."""

    def play(folder: Path) -> Row:
        job = Job(folder, hyperparameters, checkpoint_seconds=0)
        job.lay_out()
        with small_disk(folder / part, megabytes):
            process = job.start()
            row = ended(job, process, time.monotonic(), code=1)
            whole = [path.name for path in sorted((folder / "checkpoints").glob("*.pt")) if is_whole(path)]
        return row | {
            "wrong": row["wrong"] or ("" if "the disk is full" in row["seen"] else "not named"),
            "whole": whole,
        }

    return play


def full_disk_of_everything(folder: Path) -> Row:
    """All of the base folder is one disk, on which a neighbour takes every byte while the job trains."""
    base = folder / "ml"
    with small_disk(base, 40):
        job = Job(base, LONG, checkpoint_seconds=0)
        job.lay_out()
        process = job.start()
        job.wait(process, lambda: in_first_epoch(job))
        with (base / "neighbour").open("wb", buffering=0) as file:
            try:
                while process.poll() is None:
                    file.write(bytes(2**16))
            except OSError:
                began = time.monotonic()
        row = ended(job, process, began, code=1)
        whole = [path.name for path in sorted((base / "checkpoints").glob("*.pt")) if is_whole(path)]
    return row | {"wrong": row["wrong"] or ("" if "the disk is full" in row["seen"] else "not named"), "whole": whole}


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A folder that holds so much."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def is_whole(checkpoint: Path) -> bool:
    """Whether it can be gone on from."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def read_only_model(folder: Path) -> Row:
    """model/ is mounted read-only."""
    job = Job(folder)
    job.lay_out()
    with small_disk(folder / "model", 1):
        subprocess.run(["mount", "-o", "remount,ro", str(folder / "model")], check=True)
        return ended(job, job.start(), time.monotonic(), code=1)


# --- data that goes away


def vanished(files: int, code: int) -> Callable[[Path], Row]:
    """Pictures are listed in the records, and gone from the channel when they are read."""

    def play(folder: Path) -> Row:
        job = Job(folder, {"epochs": "1", "scst_epochs": "0"})
        job.lay_out()
        process = job.start()
        job.wait(process, lambda: bool(job.stands()))
        for key in [row.key for row in ROWS[:: len(ROWS) // files]][:files]:
            (folder / "input" / "data" / "training" / key).unlink()
        return ended(job, process, time.monotonic(), code=code, said="left out")

    return play


def half_a_checkpoint(folder: Path) -> Row:
    """The machine is lost, and with it half of the last checkpoint."""
    job = Job(folder, {"epochs": "1", "scst_epochs": "0"}, checkpoint_seconds=0)
    job.lay_out()
    process = job.start()
    job.wait(process, (folder / "checkpoints" / "training.previous.pt").exists)
    signalled(process, signal.SIGKILL)
    process.wait()
    path = folder / "checkpoints" / "training.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return ended(job, job.start(), time.monotonic(), code=0, said="the checkpoint before the last")


# --- other ends


def two_jobs(folder: Path) -> Row:
    """A second job with the same checkpoint folder."""
    first = Job(folder, LONG, checkpoint_seconds=0)
    first.lay_out()
    process = first.start()
    first.wait(process, lambda: in_first_epoch(first))
    second = Job(folder, LONG, {"TRAINING_JOB_NAME": "job-8"}, logs=list(first.logs))
    try:
        return ended(second, second.start(), time.monotonic(), code=1)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)


def killed(folder: Path) -> Row:
    """SIGKILL, as the kernel sends it where memory runs out; the row is of the restart."""
    job = Job(folder, {"epochs": "1", "scst_epochs": "0"}, checkpoint_seconds=0)
    job.lay_out()
    process = job.start()
    job.wait(process, lambda: in_first_epoch(job))
    signalled(process, signal.SIGKILL)
    process.wait()
    return ended(job, job.start(), time.monotonic(), code=0, said="ended without a word")


def out_of_memory(folder: Path) -> Row:
    """The process may take no more than so much."""
    job = Job(folder, {"image_size": "1024", "batch_size": "4096"})
    job.lay_out()
    limit = (MEMORY_BYTES, MEMORY_BYTES)
    process = job.start(lambda: resource.setrlimit(resource.RLIMIT_DATA, limit))
    row = ended(job, process, time.monotonic(), code=1)
    return row | {"wrong": row["wrong"] or ("" if "out of memory" in row["seen"] else "not named")}


def clock_jumps(folder: Path) -> Row:
    """The clock goes a day back in the first epoch, and two days forward in the second."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        return {"seen": "not run: libfaketime is missing (apt-get install libfaketime)", "wrong": ""}
    short = {"epochs": "3", "scst_epochs": "0"}
    calm = Job(folder / "calm", short)
    calm.lay_out()
    calm.run()
    clock = folder / "clock"
    clock.write_text("+0")
    faked = {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    job = Job(folder / "ml", short, {"LD_PRELOAD": str(library), **faked}, checkpoint_seconds=0)
    job.lay_out()
    process = job.start()
    job.wait(process, lambda: in_first_epoch(job))
    clock.write_text("-1d")
    job.wait(process, lambda: job.stands().get("epoch", 0) >= 1)
    clock.write_text("+1d")
    row = ended(job, process, time.monotonic(), code=0, said="report: ")
    days = {line[:10] for line in job.log().splitlines() if line[:2] == "20"}
    same = job.left() == calm.left() and job.history() == calm.history()
    row["seen"] = f"{len(days)} days in the log; weights and history {'as' if same else 'not as'} without a jump"
    return row | {"wrong": row["wrong"] or ("" if same and len(days) == 3 else "not the same, or no jump")}


def table(trouble: Trouble, code: int) -> Callable[[Path], Row]:
    """The job reads a table that misbehaves."""

    def play(folder: Path) -> Row:
        job = Job(folder / "ml", {"epochs": "1", "scst_epochs": "0"})
        job.lay_out(records=False)
        items = [json.dumps({name: typed(value) for name, value in row.item().items()}) for row in ROWS]
        (folder / "pages").mkdir()
        prepare(folder / "pages", [items[part::SEGMENTS] for part in range(SEGMENTS)], page_bytes=1000)
        with responding(folder / "pages", trouble) as responder:
            keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
            job.environment = {**keys, "AWS_ENDPOINT_URL": responder.url}
            return ended(job, job.start(), time.monotonic(), code=code, said="records")

    return play


def typed(value: Any) -> dict[str, Any]:
    """A value as DynamoDB sends it."""
    if isinstance(value, list):
        return {"L": [typed(one) for one in value]}
    if isinstance(value, Mapping):
        return {"M": {name: typed(one) for name, one in value.items()}}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


# --- the rows


def signalled(process: subprocess.Popen[bytes], number: signal.Signals) -> float:
    """Send a signal; when."""
    process.send_signal(number)
    return time.monotonic()


def ended(job: Job, process: subprocess.Popen[bytes], began: float, code: int, said: str = "") -> Row:
    """Wait for the end of a job which has to end with that exit code."""
    found = process.wait(DEADLINE_SECONDS)
    wrong = [] if found == code else [f"exit code {found}, not {code}"]
    if found:
        print(job.log(), file=sys.stderr)
    lies = in_model(job.base / "model")
    seen = job.failure() or job.said(said)
    if "damaged" in lies or not seen:
        wrong.append("no whole artifact" if seen else f"nothing says {said}")
    seconds = round(time.monotonic() - began, 1)
    return {"exit code": found, "seconds": seconds, "in model/": lies, "seen": seen, "wrong": "; ".join(wrong)}


def in_model(folder: Path) -> str:
    """What lies there."""
    if not folder.is_dir() or not os.listdir(folder):
        return "nothing"
    try:
        return "an artifact" if open_artifact(folder).task else ""
    except ArtifactError:
        return f"{len(os.listdir(folder))} files"


FAULTS: Mapping[str, Callable[[Path], Row]] = {
    "SIGTERM before any picture is read": asked_to_end(at_part("records"), "before the first step"),
    "SIGTERM while pictures are read": asked_to_end(at_part("pictures"), "before the first step"),
    "SIGTERM in the first epoch": asked_to_end(in_first_epoch, "asked to end in epoch"),
    "SIGTERM in validation": asked_to_end(in_validation, "keeping what is best", validation_fraction="0.8"),
    "SIGTERM in export": asked_to_end(at_part("export"), "keeping what is best", epochs="1", scst_epochs="0"),
    "full disk: checkpoint": full_disk("checkpoints", 20),
    "full disk: pictures": full_disk("checkpoints", 4, image_size="256"),
    "full disk: export": full_disk("model", 1, epochs="1", scst_epochs="0"),
    "full disk: report": full_disk("output/data", 1, epochs="1", scst_epochs="0"),
    "full disk: not a byte left": full_disk_of_everything,
    "read-only model/": read_only_model,
    "a picture vanishes": vanished(1, 0),
    "more than 5 % of the pictures vanish": vanished(6, 1),
    "half a checkpoint": half_a_checkpoint,
    "two jobs, one checkpoint folder": two_jobs,
    "out of memory": out_of_memory,
    "killed, and restarted": killed,
    "the clock jumps": clock_jumps,
    "DynamoDB throttles": table(Trouble({"throttle": 0.3}), 0),
    "DynamoDB is lost": table(Trouble(lost_after=2), 1),
}

if __name__ == "__main__":
    main()
