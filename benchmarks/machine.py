"""What a figure was measured on: commit, date, processor."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measured() -> dict[str, str]:
    """Commit, date and processor, for the head of a result."""
    return {"commit": commit(), "date": time.strftime("%Y-%m-%d"), "cpu": f"{os.cpu_count()} × {processor()}"}


def commit() -> str:
    """The commit that was measured, with a + if the tree was changed."""
    output = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return output.stdout.strip() or "unknown"


def processor() -> str:
    """The processor's name."""
    try:
        names = [
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
