"""Start `serve` on a trained model: seconds to the first 200 of /ping, resident memory, milliseconds a line.

python -m benchmarks.serving.start build/demo/opt-ml-serve PICTURE.jpg
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.machine import commit, processor

ROOT = Path(__file__).resolve().parents[2]
PORT = 18081
STARTS = 5
LINES = 100
POLL_SECONDS = 0.005


def main() -> None:
    """Measure several starts and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder that holds model/")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    starts, runs = [], []
    for _ in range(STARTS):
        process, seconds = start(arguments.base.resolve())
        try:
            starts.append(seconds)
            runs.append(measure(process.pid, arguments.picture.read_bytes()))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    print(
        json.dumps(
            {
                "commit": commit(),
                "date": time.strftime("%Y-%m-%d"),
                "cpu": f"{os.cpu_count()} × {processor()}",
                "model_megabytes": megabytes(arguments.base / "model"),
                "seconds_to_first_200": round(statistics.median(starts), 2),
                **{name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]},
            },
            indent=2,
        )
    )


def start(base: Path) -> tuple[subprocess.Popen[bytes], float]:
    """A running `serve`, and the seconds from its exec to the first 200."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(PORT)}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, ROOT / "container" / "serve"], env=environment, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ping", timeout=2) as answer:
                if answer.status == 200:
                    return process, time.monotonic() - began
        except (urllib.error.HTTPError, OSError):
            time.sleep(POLL_SECONDS)
    raise SystemExit(f"serve ended with {process.returncode}: does {base}/model hold a model?")


def measure(pid: int, picture: bytes) -> dict[str, float]:
    """Memory of all processes below `pid`, whether any has torch mapped, and how long one line takes."""
    times = []
    for _ in range(LINES):
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/invocations", picture, {"Content-Type": "application/x-image"}
        )
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        times.append((time.perf_counter() - began) * 1000)
    processes = below(pid)
    return {
        "processes": len(processes),
        "processes_with_torch": sum("torch" in Path(f"/proc/{each}/maps").read_text() for each in processes),
        "resident_megabytes": sum(proportional_bytes(each) for each in processes) / 1e6,
        "milliseconds_per_line_p50": statistics.median(times),
        "milliseconds_per_line_p95": statistics.quantiles(times, n=20)[-1],
    }


def below(pid: int) -> list[int]:
    """A process and all of its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in below(int(child)))]


def proportional_bytes(pid: int) -> int:
    """Resident memory, what is shared counted in proportion (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def megabytes(folder: Path) -> float:
    """Size of a folder's files."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)


if __name__ == "__main__":
    main()
