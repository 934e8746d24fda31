"""`train` in a container: no network, no rights, too little memory, and the end that SageMaker asks for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ogiri import artifact
from tests.contract.server import wait_until
from tests.contract.training import SMALL, Training
from tests.image.engine import Engine
from tests.image.small_job import prepare

ENDLESS = {**SMALL, "epochs": "10000", "patience": "0", "validation_fraction": "0"}


@pytest.fixture
def job(tmp_path: Path) -> Training:
    return prepare(tmp_path / "ml", SMALL)


def mounted(job: Training) -> list[str]:
    return ["-v", f"{job.base}:/opt/ml"]


def start(engine: Engine, job: Training, log: Path) -> subprocess.Popen[bytes]:
    command = engine.command("run", "--rm", "--network", "none", *mounted(job), engine.image, "train")
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=engine.environment)


def test_needs_no_network_no_rights_and_no_name(engine: Engine, job: Training):
    for path in [job.base, *job.base.rglob("*")]:
        path.chmod(0o777)
    options = ["--network", "none", "--user", "4321:4321", "--cap-drop", "all", *engine.read_only(), *mounted(job)]
    ended = engine.run("train", options=options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "validation_loss=" in ended.stdout
    assert artifact.open_artifact(job.model).manifest["task"] == "caption"


def test_an_entry_point_needs_no_word(engine: Engine, tmp_path: Path):
    job = prepare(tmp_path / "ml", {**SMALL, "epochs": "0"})
    command = engine.command("run", "--rm", *mounted(job), "--entrypoint", "/opt/program/train", engine.image)
    ended = subprocess.run(command, capture_output=True, text=True, env=engine.environment)
    assert ended.returncode == 1
    assert "epochs is 0" in job.failure()


def test_too_little_memory_kills_it(engine: Engine, job: Training):
    options = ["--memory", "100m", "--memory-swap", "100m", "--network", "none", *mounted(job)]
    assert engine.run("train", options=options).returncode == 137


def test_sigterm_leaves_what_is_best_so_far(engine: Engine, tmp_path: Path):
    job = prepare(tmp_path / "ml", ENDLESS)
    process = start(engine, job, tmp_path / "log")
    wait_until(lambda: "epoch=2;" in (tmp_path / "log").read_text(), "the second epoch", 120)
    process.terminate()
    assert process.wait(100) == 0, (tmp_path / "log").read_text()
    assert artifact.open_artifact(job.model).manifest["task"] == "caption"


def test_sigterm_before_the_first_step_leaves_nothing(engine: Engine, tmp_path: Path):
    job = prepare(tmp_path / "ml", ENDLESS)
    process = start(engine, job, tmp_path / "log")
    wait_until(lambda: (job.base / "checkpoints").is_dir(), "the job holds its folder", 60)
    process.terminate()
    assert process.wait(100) == 0, (tmp_path / "log").read_text()
    assert list(job.model.iterdir()) == []
