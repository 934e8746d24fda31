"""What a job finds after it was killed while it wrote, or after something else wrote there."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ogiri.captioning.training.checkpoint import Checkpoints
from ogiri.sagemaker.training.failure import reason
from ogiri.task import UserError
from tests.captioning.training.small import Job, hyperparameters


def checkpoints(folder: Path, fingerprint: str = "same", job_name: str = "job-7") -> Checkpoints:
    return Checkpoints(folder / "training.pt", fingerprint, job_name)


def written(folder: Path, *numbers: int) -> Checkpoints:
    """A run that has written these."""
    run = checkpoints(folder)
    run.load()
    for number in numbers:
        run.save({"number": number, "weights": torch.full((1000,), float(number))})
    return run


def found(folder: Path, **other: str) -> int | None:
    values = checkpoints(folder, **other).load()
    return None if values is None else values["number"]


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "empty": b"",
            "cut in half": content[:middle],
            "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "garbage": b"no checkpoint",
            "zeros": bytes(len(content)),
        }[how]
    )


DAMAGES = ["empty", "cut in half", "one bit", "garbage", "zeros"]


def test_goes_on_from_the_last_one_and_keeps_the_one_before(tmp_path: Path):
    written(tmp_path, 1, 2, 3)
    assert found(tmp_path) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"training.pt", "training.previous.pt"}
    os.replace(tmp_path / "training.previous.pt", tmp_path / "training.pt")
    assert found(tmp_path) == 2


@pytest.mark.parametrize("how", DAMAGES)
def test_a_broken_one_is_said_and_the_one_before_is_taken(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture):
    written(tmp_path, 1, 2)
    damage(tmp_path / "training.pt", how)
    assert found(tmp_path) == 1
    assert "training.pt cannot be read (" in caplog.text
    assert "training.previous.pt, the checkpoint before the last" in caplog.text
    assert "from the beginning" not in caplog.text


def test_between_the_two_renames_the_one_before_is_taken(tmp_path: Path):
    written(tmp_path, 1, 2)
    (tmp_path / "training.pt").unlink()
    assert found(tmp_path) == 1


@pytest.mark.parametrize("how", DAMAGES)
def test_both_broken_is_a_start_from_the_beginning(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture):
    written(tmp_path, 1, 2)
    for name in ("training.pt", "training.previous.pt"):
        damage(tmp_path / name, how)
    assert found(tmp_path) is None
    assert "training starts from the beginning" in caplog.text


def test_a_broken_one_never_takes_the_place_of_the_one_before(tmp_path: Path):
    written(tmp_path, 1, 2)
    damage(tmp_path / "training.pt", "cut in half")
    written(tmp_path, 3)
    damage(tmp_path / "training.pt", "cut in half")
    assert found(tmp_path) == 1


def test_of_other_data_or_hyperparameters_it_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    written(tmp_path, 1, 2)
    assert found(tmp_path, fingerprint="other") is None
    assert "training.pt is of other data or hyperparameters" in caplog.text
    assert "training starts from the beginning" in caplog.text


def test_what_sagemaker_and_a_killed_job_leave_beside_it_is_no_checkpoint(tmp_path: Path):
    for name in ("training.pt.sagemaker-uploading", "training.pt.sagemaker-uploaded", "training.pt.sagemaker-ignore"):
        (tmp_path / name).write_bytes(b"")
    assert found(tmp_path) is None
    written(tmp_path, 1)
    assert found(tmp_path) == 1
    assert not (tmp_path / "training.pt.sagemaker-ignore").exists()


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path):
    for name in ("training.pt", "training.previous.pt"):
        torch.save({"number": Touch(tmp_path / "proof")}, tmp_path / name)
    (tmp_path / "training.pt").write_bytes(pickle.dumps(Touch(tmp_path / "proof")))
    assert found(tmp_path) is None
    assert not (tmp_path / "proof").exists()


def test_training_goes_on_from_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ogiri.captioning.training.fit.CHECKPOINT_EVERY_SECONDS", 0.0)
    job = Job(tmp_path, hyperparameters(epochs=3))
    expected, _ = job.run()
    damage(tmp_path / "training.pt", "cut in half")
    job.reported.clear()
    model, _ = job.run()
    assert [metrics["epoch"] for metrics in job.reported] == [3]
    for name, value in expected.state_dict()["decoder"].items():
        assert torch.equal(value, model.state_dict()["decoder"][name]), name


def test_training_of_other_data_starts_anew(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=1))
    job.run()
    job.reported.clear()
    dataclasses.replace(job, fingerprint="other").run()
    assert len(job.reported) == 1


# --- another job -----------------------------------------------------------------------------------------------------


def test_another_job_that_writes_there_is_named_and_not_overwritten(tmp_path: Path):
    ours, theirs = written(tmp_path, 1), checkpoints(tmp_path, job_name="job-8")
    theirs.load()
    theirs.save({"number": 2})
    with pytest.raises(UserError, match=r"training\.pt was written by training job job-8 .* while job job-7 .* own"):
        ours.save({"number": 3})
    assert found(tmp_path) == 2


def test_another_run_of_the_same_job_is_noticed_too(tmp_path: Path):
    ours = written(tmp_path, 1)
    written(tmp_path, 2)
    with pytest.raises(UserError, match="was written by training job job-7"):
        ours.save({"number": 3})


def test_a_restart_goes_on_writing(tmp_path: Path):
    written(tmp_path, 1)
    written(tmp_path, 2)
    written(tmp_path, 3, 4)
    assert found(tmp_path) == 4


def test_one_that_is_gone_or_broken_is_replaced(tmp_path: Path):
    run = written(tmp_path, 1)
    (tmp_path / "training.pt").unlink()
    run.save({"number": 2})
    damage(tmp_path / "training.pt", "cut in half")
    run.save({"number": 3})
    assert found(tmp_path) == 3


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("numbers", [300_000, 1_000_000], ids=["at its end", "in its middle"])
def test_a_full_disk_leaves_the_checkpoints_that_there_were(small_disk: Path, numbers: int):
    run = written(small_disk, 1, 2)
    (small_disk / "other").write_bytes(bytes(900_000))
    with pytest.raises(OSError, match="No space left on device") as caught:
        run.save({"number": 3, "weights": torch.zeros(numbers)})
    assert reason(caught.value).startswith("UserError: the disk is full (")
    assert f"'{small_disk}/training.pt'" in reason(caught.value)
    assert {path.name for path in small_disk.iterdir()} == {"training.pt", "training.previous.pt", "other"}
    assert found(small_disk) == 2
