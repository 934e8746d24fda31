from __future__ import annotations

from pathlib import Path

import pytest

from ogiri.machine import available_bytes
from ogiri.sagemaker.hosting.memory import (
    MEGABYTE,
    NEED_BYTES,
    NEED_FACTOR,
    RESERVE_BYTES,
    ModelMemory,
    needed_bytes,
)

MACHINE = "MemTotal:       2000000 kB\nMemFree:        300000 kB\nMemAvailable:   1000000 kB\nHugePages_Total:   0\n"
AVAILABLE = 1_000_000 * 1024


def system(root: Path, cgroup: str = "0::/\n", **files: str) -> Path:
    """A root with `proc` and `sys`; files of cgroups by name, `__` for a slash."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MACHINE)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("memory_", "memory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path):
    root = system(tmp_path, memory_max="max\n", memory_current="5000\n", memory_stat="inactive_file 7\n")
    assert available_bytes(root) == AVAILABLE


def test_a_limit_of_version_2_less_what_is_in_use_but_for_cached_files(tmp_path: Path):
    stat = "anon 500\nfile 450\nactive_file 200\ninactive_file 100\n"
    root = system(tmp_path, memory_max="2000\n", memory_current="1000\n", memory_stat=stat)
    assert available_bytes(root) == 2000 - 1000 + 300


def test_a_limit_of_version_1(tmp_path: Path):
    files = {
        "memory__memory.limit_in_bytes": "2000\n",
        "memory__memory.usage_in_bytes": "1000\n",
        "memory__memory.stat": "active_file 1\ntotal_active_file 200\ntotal_inactive_file 100\n",
    }
    assert available_bytes(system(tmp_path, "4:memory:/\n0::/\n", **files)) == 1300


def test_version_1_without_a_limit_is_what_the_machine_has(tmp_path: Path):
    files = {
        "memory__memory.limit_in_bytes": "9223372036854771712\n",
        "memory__memory.usage_in_bytes": "1000\n",
        "memory__memory.stat": "total_active_file 200\n",
    }
    assert available_bytes(system(tmp_path, "4:memory:/\n", **files)) == AVAILABLE


@pytest.mark.parametrize(("outer", "inner", "free"), [("9000", "2000", 1000), ("1500", "9000", 500)])
def test_the_tightest_of_nested_groups_counts(tmp_path: Path, outer: str, inner: str, free: int):
    files = {
        "memory_max": "max",
        "a__memory_max": outer,
        "a__memory_current": "1000",
        "a__memory_stat": "",
        "a__b__memory_max": inner,
        "a__b__memory_current": "1000",
        "a__b__memory_stat": "",
    }
    assert available_bytes(system(tmp_path, "0::/a/b\n", **files)) == free


def test_the_machine_counts_where_it_has_less_than_the_limit(tmp_path: Path):
    root = system(tmp_path, memory_max=str(10 * AVAILABLE), memory_current="0", memory_stat="")
    assert available_bytes(root) == AVAILABLE


def test_models_may_take_what_is_there_less_a_reserve_or_what_is_fixed(tmp_path: Path):
    root = system(tmp_path)
    assert ModelMemory(root=root).free_bytes(taken=5) == AVAILABLE - RESERVE_BYTES
    assert ModelMemory(1000, root).free_bytes(taken=300) == 700
    assert ModelMemory(1000, root).free_bytes(taken=1300) == -300


def test_this_machine_says_what_it_has():
    assert MEGABYTE < available_bytes() < 2**45


def test_weights_that_are_not_served_need_no_memory():
    files = {name: {"bytes": 10 * MEGABYTE} for name in ("decoder.onnx", "weights/decoder.safetensors")}
    assert needed_bytes(files) == 10 * MEGABYTE * NEED_FACTOR + NEED_BYTES
