"""Resident memory of this process, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

MB = 1_000_000


def resident_mb() -> float:
    """Now."""
    return _status("VmRSS")


def peak_mb() -> float:
    """At most, since the process began or `forget_peak` was called."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) / MB
