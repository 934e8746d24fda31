"""A training job on this machine: the folders as SageMaker lays them out, and the real `container/train`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local.process import end, tail

ROOT = Path(__file__).resolve().parent.parent
DOWNLOADS = 8
HOST = "algo-1"


class JobError(RuntimeError):
    """A training job that failed; the message is its failure file's first line, or the end of its log."""


def prepare(base: Path, hyperparameters: Mapping[str, str], channels: Mapping[str, Path | None]) -> None:
    """Lay out `input/config` and `input/data` below `base`.

    Args:
        base: what /opt/ml is in the container; whatever is there is removed.
        hyperparameters: name → value.
        channels: name → folder that is linked in, or None for an empty one.
    """
    shutil.rmtree(base, ignore_errors=True)
    config = base / "input" / "config"
    config.mkdir(parents=True)
    data = base / "input" / "data"
    data.mkdir()
    for name, folder in channels.items():
        if folder is None:
            (data / name).mkdir()
        else:
            (data / name).symlink_to(folder.resolve(), target_is_directory=True)
    inputs = {name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"} for name in channels}
    files: dict[str, Any] = {
        "hyperparameters.json": dict(hyperparameters),
        "inputdataconfig.json": inputs,
        "resourceconfig.json": {"current_host": HOST, "hosts": [HOST], "network_interface_name": "lo"},
    }
    for name, value in files.items():
        (config / name).write_text(json.dumps(value, indent=2), encoding="utf-8")


def download(s3: Any, bucket: str, prefix: str, folder: Path) -> int:
    """Fetch everything below a prefix into a folder, as SageMaker fills a channel; returns the number of files."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    folder.mkdir(parents=True, exist_ok=True)

    def fetch(key: str) -> None:
        s3.download_file(bucket, key, str(folder / key.removeprefix(prefix)))

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        return sum(1 for _ in pool.map(fetch, keys))


def train(base: Path, environment: Mapping[str, str], log: Path, on_line: Callable[[str], None]) -> None:
    """Run the job to its end.

    Args:
        base: prepared before.
        environment: of the process, without what is set here.
        log: file that gets all it prints.
        on_line: called with each line as it comes.

    Raises:
        JobError: it failed.
    """
    process = subprocess.Popen(
        [ROOT / "container" / "train", "train"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=container_environment(environment, base),
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101  it is a pipe
    try:
        with log.open("w", encoding="utf-8") as copy:
            for line in process.stdout:
                text = line.decode("utf-8", errors="replace").rstrip("\n")
                copy.write(text + "\n")
                copy.flush()
                on_line(text)
        code = process.wait()
    finally:
        end(process)
        process.stdout.close()
    if code:
        raise JobError(_reason(base, log, code))


def container_environment(environment: Mapping[str, str], base: Path) -> dict[str, str]:
    """An environment in which `container/train` and `container/serve` find this Python and their /opt/ml."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath), "/usr/sbin"])
    # Threads that wait by spinning take the cores from whatever else runs here, themselves included: measured with two
    # jobs on two cores, a step took 11 s instead of 0.7 s.
    waiting = environment.get("OMP_WAIT_POLICY", "passive")
    own = {"PATH": path, "SAGEMAKER_BASE_DIR": str(base.resolve()), "OMP_WAIT_POLICY": waiting}
    return {**environment, **own, "PYTHONUNBUFFERED": "1"}


def _reason(base: Path, log: Path, code: int) -> str:
    failure = base / "output" / "failure"
    if failure.is_file():
        first = failure.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        return f"{first}\n(the whole log is in {log})"
    return f"train ended with exit code {code} and left no failure file; the end of {log}:\n{tail(log)}"
