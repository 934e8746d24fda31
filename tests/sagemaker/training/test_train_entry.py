"""Starts the real container/train as a process of its own, with a toy in the place of a model."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ogiri.artifact import open_artifact
from tests.sagemaker.training.toy_job import TIMEOUT_SECONDS, Job

TRAIN = Path(__file__).parents[3] / "container" / "train"


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path / "ml")


# --- a job that succeeds ---------------------------------------------------------------------------------------------


def test_trains_with_what_the_platform_laid_out(job):
    for channel in ("training", "pretrained"):
        (job.base / "input" / "data" / channel).mkdir(parents=True)
    status, out, err = job.run({"epochs": "5", "learning_rate": '"3e-4"'}, TRAINING_JOB_NAME="job-7")
    assert status == 0, err
    assert "Traceback" not in err
    seen = json.loads(open_artifact(job.model).path("seen.json").read_text(encoding="utf-8"))
    assert seen == {
        "hyperparameters": {"behaviour": "train", "epochs": 5, "learning_rate": 0.0003, "quantize": True},
        "channels": {name: str(job.base / "input" / "data" / name) for name in ("pretrained", "training")},
        "folders": [str(job.model), str(job.base / "output" / "data"), str(job.base / "checkpoints")],
        "job_name": "job-7",
    }
    assert out == "train_loss=1.5;\n"
    assert "validation_loss is nan" in err
    assert not job.failure.exists()


@pytest.mark.parametrize("arguments", [(), ("train",), ("train", "--anything", "else"), ("serve-me-not",)])
def test_starts_with_and_without_the_word_train(job, arguments):
    assert job.run({}, arguments=arguments)[0] == 0
    assert open_artifact(job.model).task == "toy"


def test_a_job_that_succeeds_removes_an_earlier_failure(job):
    job.failure.parent.mkdir()
    job.failure.write_text("UserError: yesterday's")
    assert job.run({})[0] == 0
    assert not job.failure.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_is_an_executable_file_for_the_first_python3_on_the_path(job, tmp_path, linked):
    command = TRAIN
    if linked:  # as in an image that links it into /usr/local/bin
        command = tmp_path / "train"
        command.symlink_to(TRAIN)
    assert TRAIN.stat().st_mode & stat.S_IXUSR
    assert TRAIN.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
    job.config("hyperparameters", {"task": "none such"})
    status, _, err = job.run(command=[str(command)], PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert status == 1
    assert job.reason().startswith("UserError: task is 'none such': it must be one of caption"), err


def test_japanese_in_the_log_whatever_the_locale(job):
    job.config("hyperparameters", {"task": "大喜利"})
    _, _, err = job.run(LC_ALL="C", LANG="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert "task is '大喜利'" in err
    assert "task is '大喜利'" in job.reason()


def test_other_hosts_than_the_first_have_nothing_to_do(job):
    job.config("resourceconfig", {"hosts": ["algo-2", "algo-1"], "current_host": "algo-2"})
    status, out, err = job.run({"behaviour": "bug"})
    assert (status, out) == (0, "")
    assert "algo-1" in err
    assert list(job.model.iterdir()) == []


# --- a job that fails ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"epochs": "0"}, "UserError: epochs is 0: it must be 1 to 100"),
        ({"epoch": "5"}, "UserError: epoch is not a known parameter: did you mean epochs?"),
        ({"quantize": "maybe"}, 'UserError: quantize is "maybe": it must be true or false'),
        (
            {"epochs": "0", "learning_rate": "-1"},
            "UserError: epochs is 0: it must be 1 to 100; learning_rate is -1.0: it must be above 0",
        ),
        ({"behaviour": "user error"}, "UserError: the training channel holds no pictures: send some"),
        ({"behaviour": "platform error"}, "PlatformError: DynamoDB did not answer for 5 minutes"),
        ({"behaviour": "bug"}, "AlgorithmError: RuntimeError: export failed (caused by KeyError: 'missing')"),
        ({"behaviour": "exit"}, "AlgorithmError: SystemExit: 0"),
    ],
)
def test_says_why_it_failed(job, hyperparameters, reason):
    status, out, err = job.run(hyperparameters)
    assert status == 1
    assert job.reason() == reason
    assert "Traceback (most recent call last)" in job.failure.read_text(encoding="utf-8")
    assert err.splitlines()[-1] == reason
    assert "Traceback (most recent call last)" in err
    assert out == ""
    assert list(job.failure.parent.glob("*.tmp")) == []


def test_a_trainer_that_leaves_no_artifact_has_failed(job):
    assert job.run({"behaviour": "nothing"})[0] == 1
    assert job.reason().startswith("AlgorithmError: RuntimeError: the trainer left no whole artifact (caused by ")


@pytest.mark.parametrize("name", ["hyperparameters", "resourceconfig", "inputdataconfig"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "epochs=5"])
def test_malformed_configuration_is_named(job, name, content):
    job.config(name, content)
    assert job.run()[0] == 1
    assert job.reason().startswith(f"UserError: {job.base}/input/config/{name}.json ")


def test_fails_even_where_no_failure_file_can_be_written(job):
    job.failure.parent.write_text("a file where the folder should be")
    status, _, err = job.run({})
    assert status == 1
    assert "AlgorithmError: " in err
    assert "cannot be written" in err


def test_bad_task_fails_before_torch_is_imported(job):
    job.config("hyperparameters", {"task": "none such"})
    status, _, err = job.run(command=[sys.executable, "-X", "importtime", str(TRAIN)])
    assert status == 1
    assert "ogiri.parameter" in err
    for slow in ("torch", "tensorboardX", "mlflow"):
        assert slow not in err


# --- a job that is stopped -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_training_keeps_the_artifact(job, number):
    job.config("hyperparameters", {"task": "toy", "behaviour": "wait"})
    process = job.start()
    assert process.stdout.readline() == "started=1;\n"  # unbuffered: it comes before the end
    process.send_signal(number)
    _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, err
    assert err.count(f"{number.name}: stopping") == 1
    assert open_artifact(job.model).task == "toy"
    assert not job.failure.exists()


def test_stopped_while_torch_is_imported_leaves_an_empty_model(job):
    job.config("hyperparameters", {"task": "toy"})
    process = job.start(TOY_SLOW_IMPORT="1")
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, err
    assert list(job.model.iterdir()) == []
    assert err.count("stopped before the first step") == 1
    assert not job.failure.exists()


def in_its_own_time(job, first: signal.Signals) -> subprocess.Popen:
    """A job that was asked to stop, has seen it, and is still busy."""
    job.config("hyperparameters", {"task": "toy", "behaviour": "take your time"})
    process = job.start()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not job.model.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(first)
    assert process.stdout.readline() == "stopping=1;\n"
    return process


def test_a_second_sigterm_changes_nothing(job):
    process = in_its_own_time(job, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    (job.base / "checkpoints" / "go").touch()
    _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, err
    assert err.count("stopping") == 1
    assert open_artifact(job.model).task == "toy"


def test_a_second_ctrl_c_ends_the_job_at_once(job):
    process = in_its_own_time(job, signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 1
    assert job.reason() == "AlgorithmError: KeyboardInterrupt"


def test_a_worker_process_ends_when_told_to(job):
    job.config("hyperparameters", {"task": "toy", "behaviour": "fork"})
    process = job.start()
    child = int(process.stdout.readline().removeprefix("child=").rstrip(";\n"))
    os.kill(child, signal.SIGINT)  # a Ctrl-C reaches the whole group and is not for workers
    os.kill(child, signal.SIGTERM)
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert out == f"ended_by={signal.SIGTERM.value};\n"
    assert "stopping" not in err
