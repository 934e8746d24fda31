"""One job on one process, on two of a host, and on two hosts: the same curve? And what a lost process or host does.

    python -m benchmarks.training.distributed [--epochs 10]

The hosts are network namespaces, which need root. Nothing of the job is left to chance (no dropout, float32), so that
curves differ by rounding alone. The exit code is 1 where a curve differs by more, or where a job with a lost process
goes on for more than a minute.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.training.results import publish
from tests.contract.hosts import cut, two_hosts
from tests.contract.ranks import ENDLESS, difference, history, lay_out, log_of, rank_process, start
from tests.contract.training import Training

EPOCHS = 10
HOSTS = ("algo-1", "algo-2")
DEADLINE_SECONDS = 600.0
A_MINUTE = 60.0
ROUNDING = 1e-4  # of figures up to 100

Jobs = Mapping[str, Training]
Commands = Mapping[str, Sequence[str]]


def main() -> None:
    """Run the jobs, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, two_hosts() as hosts:
        rows = curves(Path(folder), str(arguments.epochs), hosts)
        rows += [
            lost(Path(folder) / "killed", {"algo-1": ()}, "a rank of two", kill),
            lost(Path(folder) / "killed host", hosts, "a rank of another host", kill),
            lost(Path(folder) / "cut", hosts, "a host", lambda _: cut(list(hosts["algo-2"]))),
        ]
    publish("distributed", {"epochs": arguments.epochs, "threads a process": 1}, rows)
    sys.exit(
        any(row["most different"] > ROUNDING or row["seconds to the end"] > A_MINUTE for row in map(counted, rows))
    )


def curves(folder: Path, epochs: str, hosts: Commands) -> list[dict[str, Any]]:
    """A row a way to run the same job."""
    here: Commands = {"algo-1": ()}
    ways: list[tuple[str, Commands, int]] = [("one process", here, 1), ("two processes", here, 2)]
    ways.append(("two hosts", hosts, 1))
    rows, first = [], None
    for name, commands, processes in ways:
        jobs = laid_out(folder / name, commands, epochs=epochs, processes_per_host=str(processes))
        began = time.monotonic()
        ended([start(job, commands[host]) for host, job in jobs.items()], DEADLINE_SECONDS, 0, jobs)
        found = history(jobs["algo-1"])
        first = first or found
        losses = [f"{epoch['validation_loss']:.4f}" for epoch in found]
        rows.append(
            {
                "job": name,
                "seconds": round(time.monotonic() - began, 1),
                "validation loss": " ".join([*losses[:3], "…", losses[-1]]),
                "most different": f"{difference(first, found):.1e}",
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def lost(folder: Path, commands: Commands, what: str, lose: Callable[[Jobs], None]) -> dict[str, Any]:
    """How a job ends that loses a process, or a host, while it trains."""
    processes = "1" if len(commands) > 1 else "2"
    jobs = laid_out(folder, commands, processes_per_host=processes, **ENDLESS)
    started = [start(job, commands[host]) for host, job in jobs.items()]
    assert started[0].stdout is not None
    while "train_loss=" not in (line := started[0].stdout.readline()):
        if not line:
            raise RuntimeError(f"the job ended before its first epoch:\n{log_of(jobs['algo-1'])}")
    lose(jobs)
    began = time.monotonic()
    ended(started, DEADLINE_SECONDS, 1, jobs)
    row = {
        "job": f"{what} is lost",
        "seconds to the end": round(time.monotonic() - began, 1),
        "output/failure": jobs["algo-1"].failure(),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def kill(jobs: Jobs) -> None:
    """The second rank, on the last host."""
    os.kill(rank_process(list(jobs.values())[-1], 1), signal.SIGKILL)


def laid_out(folder: Path, commands: Commands, **hyperparameters: str) -> Jobs:
    """Host → its base folder."""
    return {host: lay_out(folder / host, tuple(commands), host, **hyperparameters) for host in commands}


def ended(processes: Sequence[subprocess.Popen[str]], seconds: float, status: int, jobs: Jobs) -> None:
    """Wait for all of them.

    Raises:
        RuntimeError: one did not end as it should.
    """
    for process, job in zip(processes, jobs.values(), strict=True):
        process.communicate(timeout=seconds)
        if process.returncode != status:
            raise RuntimeError(f"{job.base} ended with {process.returncode}:\n{log_of(job)}")


def counted(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a row that must stay small."""
    return {name: float(row.get(name, 0)) for name in ("most different", "seconds to the end")}


if __name__ == "__main__":
    main()
