"""The real `container/train` with several processes, on one host and on two in network namespaces."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ogiri.artifact import open_artifact
from tests.contract.hosts import cut, two_hosts
from tests.contract.ranks import ENDLESS, difference, history, lay_out, log_of, rank_process, start
from tests.contract.training import TIMEOUT_SECONDS, Training

A_MINUTE = 60.0
ROUNDING = 1e-5
HOSTS = ("algo-1", "algo-2")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Training:
    job = lay_out(tmp_path_factory.mktemp("alone"))
    process = start(job)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, log_of(job)
    return job


@pytest.fixture
def hosts() -> Iterator[dict[str, list[str]]]:
    try:
        context = two_hosts()
        commands = context.__enter__()
    except PermissionError as error:
        pytest.skip(f"network namespaces need root: {error}")
    yield commands
    context.__exit__(None, None, None)


def test_one_process_opens_no_group(alone: Training):
    assert "processes on this host" not in log_of(alone)
    assert difference(history(alone), history(alone)) == 0


def test_two_processes_have_the_curve_of_one_and_leave_one_artifact(alone: Training, tmp_path: Path):
    job = lay_out(tmp_path, processes_per_host="2")
    process = start(job)
    out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, log_of(job)
    assert [re.match(r"epoch=(\d)", line)[1] for line in out.splitlines()] == ["1", "2"]
    assert difference(history(job), history(alone)) < ROUNDING
    assert open_artifact(job.model).task == "caption"
    assert not (job.base / "output" / "failure").exists()
    assert log_of(job).count("validating with") == 2
    assert "Traceback" not in log_of(job)


def test_a_batch_of_fewer_lines_than_processes_is_trained_all_the_same(tmp_path: Path):
    one, three = (
        lay_out(tmp_path / "1", batch_size="2", epochs="1"),
        lay_out(tmp_path / "3", batch_size="2", epochs="1", processes_per_host="3"),
    )
    for job, process in [(job, start(job)) for job in (one, three)]:
        process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0, log_of(job)
    assert difference(history(one), history(three)) < ROUNDING


def test_self_critical_epochs_are_shared_too(tmp_path: Path):
    job = lay_out(tmp_path, epochs="1", scst_epochs="1", processes_per_host="2")
    process = start(job)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, log_of(job)
    assert "train_reward" in history(job)[1]


def test_asked_to_end_all_stop_at_the_same_step_and_leave_an_artifact(tmp_path: Path):
    job = lay_out(tmp_path, processes_per_host="2", **ENDLESS)
    process = start(job)
    assert "train_loss=" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, log_of(job)
    assert open_artifact(job.model).task == "caption"
    assert not (job.base / "output" / "failure").exists()


def test_asked_to_end_while_torch_is_imported_nothing_is_left(tmp_path: Path):
    job = lay_out(tmp_path, processes_per_host="2", **ENDLESS)
    process = start(job)
    wait_for_rank(job, 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, log_of(job)
    assert list(job.model.iterdir()) == []


def test_a_killed_rank_is_named_within_a_minute_and_a_restart_goes_on(alone: Training, tmp_path: Path):
    job = lay_out(tmp_path, processes_per_host="2")
    often = ("-m", "benchmarks.training.often", "0")
    process = start(job, program=often)
    wait_for(lambda: (job.base / "checkpoints" / "training.pt").exists() or process.poll() is not None)
    os.kill(rank_process(job, 1), signal.SIGKILL)
    process.communicate(timeout=A_MINUTE)
    assert process.returncode == 1
    assert re.match(r"PlatformError: rank 1 on algo-1 was killed by SIGKILL: .*out of memory, or its m", job.failure())
    process = start(job)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, log_of(job)
    assert "going on from the checkpoint" in log_of(job)
    assert difference(history(job), history(alone)) < ROUNDING


def test_what_a_rank_says_of_its_failure_is_the_jobs(tmp_path: Path):
    job = lay_out(tmp_path, processes_per_host="2", min_records="49")
    process = start(job)
    process.communicate(timeout=A_MINUTE)
    assert process.returncode == 1
    assert re.match("UserError: rank 0 on algo-1: .* has 48 records, fewer than the 49 ", job.failure())
    assert log_of(job).splitlines()[-1] == job.failure()


def test_two_hosts_have_the_curve_of_one_process(alone: Training, hosts: dict[str, list[str]], tmp_path: Path):
    jobs = {host: lay_out(tmp_path / host, HOSTS, host) for host in hosts}
    processes = {host: start(job, hosts[host]) for host, job in jobs.items()}
    outs = {host: process.communicate(timeout=TIMEOUT_SECONDS)[0] for host, process in processes.items()}
    assert {p.returncode for p in processes.values()} == {0}, "\n".join(map(log_of, jobs.values()))
    assert difference(history(jobs["algo-1"]), history(alone)) < ROUNDING
    assert (len(outs["algo-1"].splitlines()), outs["algo-2"]) == (2, "")
    assert list(jobs["algo-2"].model.iterdir()) == []


@pytest.mark.parametrize("way", ["killed", "cut off"])
def test_a_rank_lost_on_one_host_ends_the_other_within_a_minute(hosts: dict[str, list[str]], tmp_path: Path, way: str):
    jobs = {host: lay_out(tmp_path / host, HOSTS, host, **ENDLESS) for host in hosts}
    processes = {host: start(job, hosts[host]) for host, job in jobs.items()}
    assert "train_loss=" in processes["algo-1"].stdout.readline(), log_of(jobs["algo-1"])
    if way == "killed":
        os.kill(rank_process(jobs["algo-2"], 1), signal.SIGKILL)
    else:
        cut(hosts["algo-2"])
    for process in processes.values():
        process.communicate(timeout=A_MINUTE)
        assert process.returncode == 1
    said = {host: job.failure() for host, job in jobs.items()}
    if way == "killed":
        assert said["algo-1"] == said["algo-2"]
        assert said["algo-1"].startswith("PlatformError: rank 1 on algo-2 was killed by SIGKILL: ")
    else:
        assert said["algo-1"].startswith("PlatformError: host algo-2 gives no sign of life any more: ")
        assert said["algo-2"].startswith("PlatformError: host algo-1 gives no sign of life any more: ")


def test_one_host_asked_to_end_takes_the_other_with_it(hosts: dict[str, list[str]], tmp_path: Path):
    jobs = {host: lay_out(tmp_path / host, HOSTS, host, **ENDLESS) for host in hosts}
    processes = {host: start(job, hosts[host]) for host, job in jobs.items()}
    assert "train_loss=" in processes["algo-1"].stdout.readline(), log_of(jobs["algo-1"])
    processes["algo-2"].send_signal(signal.SIGTERM)
    for host, process in processes.items():
        process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0, log_of(jobs[host])
    assert open_artifact(jobs["algo-1"].model).task == "caption"


def wait_for(reached) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_rank(job: Training, rank: int) -> None:
    def is_there() -> bool:
        try:
            return rank_process(job, rank) > 0
        except ProcessLookupError:
            return False

    wait_for(is_there)
