"""How many processes a host has, and by which interface they speak."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from ogiri.sagemaker.training import launch
from ogiri.sagemaker.training.environment import Environment
from ogiri.task import UserError


def with_gpus(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's program that lists so many."""
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo 'GPU {n}: NVIDIA (UUID: GPU-{n})'\n" for n in range(count)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(("asked", "gpus", "found"), [(0, 0, 1), (3, 0, 3), (0, 1, 1), (1, 1, 1)])
def test_as_many_as_asked_for_or_one_a_gpu(tmp_path, monkeypatch, asked, gpus, found):
    with_gpus(tmp_path, gpus, monkeypatch)
    assert launch.processes(SimpleNamespace(processes_per_host=asked)) == found


def test_a_task_that_knows_of_no_processes_has_none():
    assert launch.processes(SimpleNamespace(epochs=1)) == 0


def test_two_processes_do_not_share_a_gpu(tmp_path, monkeypatch):
    with_gpus(tmp_path, 1, monkeypatch)
    with pytest.raises(UserError, match="processes_per_host is 2, and this host has 1 GPUs: each process needs its"):
        launch.processes(SimpleNamespace(processes_per_host=2))


@pytest.mark.parametrize(
    ("hosts", "named", "taken"),
    [(("algo-1",), "eth7", "lo"), (("algo-1", "algo-2"), "lo", "lo"), (("algo-1", "algo-2"), "eth7", None)],
)
def test_hosts_speak_by_the_interface_that_the_platform_names(tmp_path, monkeypatch, caplog, hosts, named, taken):
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.WARNING)
    settings = launch.settings(Environment(tmp_path, {}, hosts, "algo-1", network_interface=named), 2)
    assert settings.get("GLOO_SOCKET_IFNAME") == settings.get("NCCL_SOCKET_IFNAME") == taken
    assert ("names the network interface eth7, and this host has " in caplog.text) == (taken is None)
    assert int(settings["OMP_NUM_THREADS"]) >= 1
