"""Where the events of a job go, whatever its task."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ogiri.sagemaker.training import environment, journal
from ogiri.task import UserError
from tests.sagemaker.training.toy_job import Job


@dataclass(frozen=True)
class Hyperparameters:
    epochs: int = 3


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    return Job(tmp_path / "ml")


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def test_every_job_leaves_tensorboard_files(job: Job):
    status, _, err = job.run({"epochs": "5"})
    assert status == 0, err
    events = read(job.base / "output" / "tensorboard")
    assert events.Tags()["scalars"] == ["train_loss"]
    assert b"| epochs | 5 |" in events.Tensors("hyperparameters/text_summary")[0].tensor_proto.string_val[0]


def test_tensorboard_files_go_where_the_platform_will_look(job: Job, tmp_path: Path):
    job.config("tensorboardoutputconfig", {"LocalPath": str(tmp_path / "elsewhere")})
    assert job.run({})[0] == 0
    assert read(tmp_path / "elsewhere").Tags()["scalars"] == ["train_loss"]
    assert not (job.base / "output" / "tensorboard").exists()


@pytest.mark.parametrize("content", [{}, {"LocalPath": None}, {"LocalPath": ""}])
def test_without_a_path_it_is_the_default_one(job: Job, content: dict[str, None]):
    job.config("tensorboardoutputconfig", content)
    assert journal.event_folder(environment.read()) == job.base / "output" / "tensorboard"


def test_a_path_that_is_none_is_named(job: Job):
    job.config("tensorboardoutputconfig", {"LocalPath": 5})
    with pytest.raises(UserError, match=r"tensorboardoutputconfig\.json has LocalPath 5"):
        journal.event_folder(environment.read())


def test_the_step_is_the_epoch_or_else_counts_on(job: Job, capsys: pytest.CaptureFixture[str]):
    with journal.keep(environment.read(), Hyperparameters()) as report:
        for values in ({"loss": 5.0}, {"epoch": 7, "loss": 4.0}, {"loss": 3.0}):
            report(values)
    events = read(job.base / "output" / "tensorboard")
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 5.0), (7, 4.0), (8, 3.0)]
    assert events.Tags()["scalars"] == ["loss"]
    assert capsys.readouterr().out == "loss=5;\nepoch=7; loss=4;\nloss=3;\n"


def test_samples_of_any_task_are_shown(job: Job):
    with journal.keep(environment.read(), Hyperparameters()) as report:
        report({"loss": 5.0})
        sample = {"text": "犬が逃げた！", "label": 1}
        (job.base / "output" / "data" / "samples.jsonl").write_text(json.dumps(sample) + "\n", encoding="utf-8")
    shown = read(job.base / "output" / "tensorboard").Tensors("samples/text_summary")[0].tensor_proto.string_val[0]
    assert shown.decode() == "| text | label |\n| --- | --- |\n| 犬が逃げた！ | 1 |"
