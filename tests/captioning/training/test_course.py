"""What a job leaves of where it stands, and what the next run says of it."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest

from ogiri.captioning.training.course import MARKER, Course


def die_in(folder: Path, part: str, job_name: str = "job-7", epoch: int = 0) -> None:
    """A run that comes so far and is never heard of again."""
    course = Course(folder, job_name, 128)
    course.__enter__()
    course.begin("records")
    course.begin(part)
    if epoch:
        course.following(lambda values: None)({"epoch": epoch, "train_loss": 1.0})


def said_by_the_next_run(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    caplog.set_level(logging.WARNING)
    with Course(folder, "job-7", 128):
        pass
    return caplog.text


def test_an_end_without_a_word_is_told_with_its_place_and_the_way_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    die_in(tmp_path, "training", epoch=3)
    said = said_by_the_next_run(tmp_path, caplog)
    assert "the last run ended without a word in the part training, after epoch 3: most likely it ran out" in said
    assert "take a larger instance type, or a batch_size below 128" in said
    assert said.count("\n") == 1
    assert said_by_the_next_run(tmp_path, caplog) == ""


def test_a_run_that_dies_before_its_first_epoch_keeps_the_epochs_of_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    die_in(tmp_path, "training", epoch=3)
    die_in(tmp_path, "pictures")
    assert "in the part pictures, after epoch 3" in said_by_the_next_run(tmp_path, caplog)


def test_of_another_job_it_says_that_it_may_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    die_in(tmp_path, "pictures", "job-8")
    said = said_by_the_next_run(tmp_path, caplog)
    assert "the last run here, of training job job-8, still goes on elsewhere or ended without a word in the" in said


@pytest.mark.parametrize("content", ["", "{", "[]", '{"job": 1}'])
def test_a_marker_that_cannot_be_read_is_told_too(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str):
    (tmp_path / MARKER).write_text(content)
    assert "the last run ended without a word" in said_by_the_next_run(tmp_path, caplog)


def test_an_end_that_speaks_leaves_no_marker(tmp_path: Path):
    for error in (None, ValueError(), KeyboardInterrupt()):
        with contextlib.suppress(ValueError, KeyboardInterrupt), Course(tmp_path, "job-7", 128) as course:
            course.begin("records")
            assert (tmp_path / MARKER).exists()
            if error is not None:
                raise error
        assert list(tmp_path.iterdir()) == []


def test_each_part_has_its_seconds(tmp_path: Path):
    with Course(tmp_path, "job-7", 128) as course:
        course.begin("records")
        course.begin("pictures")
        assert list(course.laps) == ["records"]
    assert list(course.laps) == ["records", "pictures"]
    assert all(seconds >= 0 for seconds in course.laps.values())


def test_metrics_pass_through(tmp_path: Path):
    seen: list[object] = []
    with Course(tmp_path, "job-7", 128) as course:
        course.begin("training")
        course.following(seen.append)({"train_loss": 1.0})
    assert seen == [{"train_loss": 1.0}]
