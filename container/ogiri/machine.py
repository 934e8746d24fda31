"""What this container may use of the machine, and the memory of this process.

Neither Python nor ONNX Runtime asks the cgroup, which is what limits a container.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

LARGE_BYTES = 4 * 2**20
"""Larger than what a step of decoding allocates, smaller than most weights."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def available_processors(root: Path = Path("/")) -> int:
    """The smaller of the CPU affinity and the cgroup's quota, at least 1.

    Args:
        root: where `proc` and `sys` lie.
    """
    allowed = len(os.sched_getaffinity(0))
    quotas = [quota for quota in (_quota_v2(root), _quota_v1(root)) if quota is not None]
    return max(1, min([allowed, *(round(quota) for quota in quotas)]))


def available_bytes(root: Path = Path("/")) -> int:
    """Bytes that this container can still take: of the machine, and of each cgroup from its own upwards.

    What files have in the page cache counts as free, since the kernel gives it up when memory is short.

    Args:
        root: where `proc` and `sys` lie.

    Raises:
        OSError: the kernel does not say.
    """
    machine = _counters(root / "proc/meminfo")["MemAvailable:"] * 1024
    return min([machine, *_free_in_cgroups(root)])


def resident_bytes() -> int:
    """Bytes of this process that lie in memory; 0 where the kernel does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def return_large_blocks() -> None:
    """Make the C library give every large block back as soon as it is freed.

    By itself it comes to keep blocks of up to 32 MB for each thread that has freed such ones, where `malloc_trim` does
    not find them: the top of an arena.
    """
    with contextlib.suppress(AttributeError, OSError):  # not every C library has it
        libc = ctypes.CDLL(None)
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(parameter, LARGE_BYTES)


def return_freed_memory() -> None:
    """Collect what only cycles hold, and make the C library give back what was freed.

    After ONNX Runtime has read a graph, that is twice the graph.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


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


def _free_in_cgroups(root: Path) -> Iterator[int]:
    mount = root / "sys/fs/cgroup"
    for folder in _folders(root, mount, ""):
        yield from _free(folder, "memory.max", "memory.current", ("active_file", "inactive_file"))
    for folder in _folders(root, mount / "memory", "memory"):
        names = ("total_active_file", "total_inactive_file")
        yield from _free(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", names)


def _free(folder: Path, limit_name: str, usage_name: str, cache_names: tuple[str, ...]) -> Iterator[int]:
    """What one cgroup can still take; nothing if it has no limit, which version 2 calls `max`."""
    limit, usage = _read(folder / limit_name), _read(folder / usage_name)
    if limit.isdigit() and usage.isdigit():
        counters = _counters(folder / "memory.stat")
        yield int(limit) - int(usage) + sum(counters.get(name, 0) for name in cache_names)


def _folders(root: Path, mount: Path, controller: str) -> list[Path]:
    """The mount, and from it down to our own cgroup; lines of /proc/self/cgroup are `id:controllers:path`."""
    folders = [mount]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            for part in Path(path.lstrip("/")).parts:
                folders.append(folders[-1] / part)
    return folders


def _counters(path: Path) -> dict[str, int]:
    """Name → number of a file with lines of `name number`; a unit after it is left out."""
    fields = (line.split() for line in path.read_text().splitlines())
    return {parts[0]: int(parts[1]) for parts in fields if len(parts) > 1 and parts[1].isdigit()}


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
