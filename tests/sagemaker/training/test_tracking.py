"""A job as a run on a real tracking server, and on one that is not there."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ogiri.artifact import open_artifact
from ogiri.sagemaker.training import tracking
from tests.contract.server import free_port, wait_until
from tests.sagemaker.training.mlflow_server import MlflowServer, mlflow_server
from tests.sagemaker.training.toy_job import TIMEOUT_SECONDS, Job

ARN = "arn:aws:sagemaker:ap-northeast-1:123456789012:mlflow-tracking-server/ours"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "ml")


def tracked(uri: str, name: str, **environment: str) -> dict[str, str]:
    patient = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT_SECONDS), "NO_PROXY": "127.0.0.1"}
    return {"MLFLOW_TRACKING_URI": uri, "TRAINING_JOB_NAME": name, **patient, **environment}


def assert_never_warned(err: str) -> None:
    assert "MLflow at" not in err
    assert "WARNING mlflow" not in err
    assert "Traceback" not in err


def test_a_job_is_a_run_with_parameters_metrics_tags_and_files(job: Job, server: MlflowServer):
    reports = job.base / "output" / "data"
    reports.mkdir(parents=True)
    for name in ("report.html", "metrics.json", "samples.jsonl"):
        (reports / name).write_text("{}")
    environment = tracked(server.url, "job-1", TRAINING_JOB_ARN="arn:job-1", OGIRI_IMAGE="ogiri:latest")
    status, _, err = job.run({"epochs": "5", "quantize": "false"}, **environment)
    assert status == 0, err
    assert_never_warned(err)
    run = server.run("job-1")
    assert run["info"]["status"] == "FINISHED"
    assert run["params"] == {"behaviour": "train", "epochs": "5", "learning_rate": "0.1", "quantize": "false"}
    tags = {"training_job": "job-1", "training_job_arn": "arn:job-1", "image": "ogiri:latest"}
    assert run["tags"].items() >= tags.items()
    assert server.curve("job-1", "train_loss") == [(1, 1.5)]
    assert server.artifacts("job-1") == ["MODEL_CARD.md", "metrics.json", "report.html"]


def test_a_job_that_fails_is_a_run_that_failed_and_says_why(job: Job, server: MlflowServer):
    assert job.run({"behaviour": "user error"}, **tracked(server.url, "job-3"))[0] == 1
    run = server.run("job-3")
    assert run["info"]["status"] == "FAILED"
    assert run["tags"]["failure"] == "UserError: the training channel holds no pictures: send some"


def test_a_stopped_job_is_a_killed_run_that_goes_on_when_the_job_is_restarted(job: Job, server: MlflowServer):
    environment = tracked(server.url, "job-4")
    job.config("hyperparameters", {"task": "toy", "behaviour": "wait"})
    process = job.start(**environment)
    assert process.stdout.readline() == "started=1;\n"
    wait_until((job.base / "checkpoints" / "mlflow_run.json").exists, "the run has begun", TIMEOUT_SECONDS)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, err
    killed = server.run("job-4")
    assert killed["info"]["status"] == "KILLED"
    assert server.curve("job-4", "train_loss") == [(2, 1.5)]

    shutil.rmtree(job.base / "model")  # only checkpoints survive
    assert job.run({"behaviour": "train"}, **environment)[0] == 0
    finished = server.run("job-4")
    assert (finished["info"]["run_id"], finished["info"]["status"]) == (killed["info"]["run_id"], "FINISHED")
    assert server.curve("job-4", "train_loss") == [(1, 1.5), (2, 1.5)]
    assert finished["params"]["behaviour"] == "wait"  # the server takes no other value, and the rest is not lost by it


def test_another_job_with_the_same_checkpoints_is_a_run_of_its_own_in_the_experiment_it_names(
    job: Job, server: MlflowServer
):
    assert job.run({}, **tracked(server.url, "job-5"))[0] == 0
    assert job.run({}, **tracked(server.url, "job-6", MLFLOW_EXPERIMENT_NAME="summer"))[0] == 0
    assert server.run("job-5")["info"]["status"] == "FINISHED"
    assert server.run("job-6", "summer")["info"]["status"] == "FINISHED"


def test_a_deleted_run_is_begun_anew(job: Job, server: MlflowServer):
    environment = tracked(server.url, "job-7")
    assert job.run({}, **environment)[0] == 0
    file = job.base / "checkpoints" / "mlflow_run.json"
    file.write_text(file.read_text().replace(server.run("job-7")["info"]["run_id"], "0" * 32))
    assert job.run({}, **environment)[0] == 0
    assert [run["info"]["status"] for run in server.runs() if run["info"]["run_name"] == "job-7"] == ["FINISHED"] * 2


def test_an_arn_is_a_server_of_sagemaker_asked_with_a_signature(job: Job, server: MlflowServer):
    environment = tracked(
        ARN,
        "job-8",
        SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT=server.url,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
        AWS_EC2_METADATA_DISABLED="true",
    )
    status, _, err = job.run({}, **environment)
    assert status == 0, err
    assert_never_warned(err)
    assert server.run("job-8")["info"]["status"] == "FINISHED"
    assert server.curve("job-8", "train_loss") == [(1, 1.5)]


def test_a_folder_does_as_a_server(job: Job, tmp_path: Path):
    status, _, err = job.run({}, **tracked(f"file:{tmp_path}/runs", "job-9"))
    assert status == 0, err
    assert_never_warned(err)
    (metric,) = tmp_path.glob("runs/*/*/metrics/train_loss")
    assert re.fullmatch(r"\d+ 1\.5 1( .*)?\n", metric.read_text())


# --- a server that does not answer -----------------------------------------------------------------------------------


def test_without_a_server_a_job_succeeds_and_says_so_once(job: Job):
    uri = f"http://127.0.0.1:{free_port()}"
    status, out, err = job.run({}, **tracked(uri, "job-10"))
    assert status == 0, err
    assert open_artifact(job.model).task == "toy"
    assert out == "train_loss=1.5;\n"
    assert err.count(f"MLflow at {uri}: MlflowException: ") == 1
    assert "Connection refused" in err
    assert err.count("MLflow at") == 1
    assert "Traceback" not in err


def test_a_silent_server_is_not_waited_for_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(tracking, "END_SECONDS", 0.1)
    for name, value in tracking.SETTINGS.items():  # restored at the end of the test
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        run = tracking.TrackedRun(uri, "job-12", {}, {}, [], tmp_path)
        run.record(1, {"train_loss": 1.5})
        run.close("FINISHED", "")
    assert f"MLflow at {uri} has not taken everything within 0.1 s: the rest is lost" in caplog.text
    for thread in threading.enumerate():
        if thread.name == "mlflow":
            assert thread.daemon  # or the process would wait for it after all
            thread.join(TIMEOUT_SECONDS)


def test_what_a_server_missed_is_sent_when_it_is_back(job: Job, server: MlflowServer):
    port = free_port()
    environment = tracked(f"http://127.0.0.1:{port}", "job-13")
    job.config("hyperparameters", {"task": "toy", "behaviour": "take your time"})
    process = job.start(**environment)
    for line in process.stderr:
        if "MLflow at" in line:
            break
    with mlflow_server(server.folder, port) as server:
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping=1;\n"
        (job.base / "checkpoints" / "go").touch()
        _, err = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0, err
        assert server.run("job-13")["params"]["behaviour"] == "take your time"
        assert server.curve("job-13", "stopping") == [(1, 1)]
        assert server.run("job-13")["info"]["status"] == "KILLED"


def test_a_password_is_not_shown(job: Job):
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    _, _, err = job.run({}, **tracked(uri, "job-14"))
    assert err.count("MLflow at http://127.0.0.1:") == 1
    assert "secret" not in err
    assert not any("secret" in file.read_text() for file in (job.base / "checkpoints").iterdir())
