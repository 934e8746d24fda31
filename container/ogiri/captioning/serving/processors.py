"""How many processors this container may really use: neither Python nor ONNX Runtime asks the cgroup."""

from __future__ import annotations

import os
from pathlib import Path


def available_processors(root: Path = Path("/")) -> int:
    """The smaller of the CPU affinity and the cgroup's quota, at least 1.

    Args:
        root: where `proc` and `sys` lie.
    """
    allowed = len(os.sched_getaffinity(0))
    quotas = [quota for quota in (_quota_v2(root), _quota_v1(root)) if quota is not None]
    return max(1, min([allowed, *(round(quota) for quota in quotas)]))


def _quota_v2(root: Path) -> float | None:
    """The smallest quota from our cgroup upwards; without a cgroup namespace ours is not the root."""
    quotas = []
    for folder in _folders(root, root / "sys/fs/cgroup", ""):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _quota_v1(root: Path) -> float | None:
    quotas = []
    for mount in ("cpu", "cpu,cpuacct"):
        for folder in _folders(root, root / "sys/fs/cgroup" / mount, "cpu"):
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            if quota.isdigit() and period.isdigit() and int(period):  # -1: no quota
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _folders(root: Path, mount: Path, controller: str) -> list[Path]:
    """The mount, and from it down to our own cgroup; lines of /proc/self/cgroup are `id:controllers:path`."""
    folders = [mount]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            for part in Path(path.lstrip("/")).parts:
                folders.append(folders[-1] / part)
    return folders


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
