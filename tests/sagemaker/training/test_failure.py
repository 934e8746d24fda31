import errno

import pytest

from ogiri.artifact import ArtifactError
from ogiri.parameter import ParameterError
from ogiri.record import RecordError
from ogiri.sagemaker.training.failure import exit_status, reason
from ogiri.task import PlatformError, UserError


def raised(error):
    def job():
        raise error

    return job


def test_nothing_raised_is_0_and_no_file(tmp_path):
    assert exit_status(lambda: None, tmp_path / "output" / "failure") == 0
    assert list(tmp_path.iterdir()) == []


def test_anything_raised_is_1_and_a_file(tmp_path):
    path = tmp_path / "output" / "failure"
    assert exit_status(raised(KeyError("x")), path) == 1
    text = path.read_text(encoding="utf-8")
    assert text.startswith("AlgorithmError: KeyError: 'x'\n\nTraceback (most recent call last):\n")
    assert [file.name for file in path.parent.iterdir()] == ["failure"]


def test_lone_surrogates_do_not_lose_the_file(tmp_path):
    assert exit_status(raised(UserError("broken \ud800 text")), tmp_path / "failure") == 1
    assert (tmp_path / "failure").read_text(encoding="utf-8").startswith("UserError: broken ? text\n")


@pytest.mark.parametrize("error", [UserError, ParameterError, ArtifactError, RecordError])
def test_what_the_user_can_mend(error):
    assert reason(error("epochs is 0")) == "UserError: epochs is 0"


def test_what_another_try_may_mend():
    assert reason(PlatformError("no answer")) == "PlatformError: no answer"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_names_the_way_out(number):
    line = reason(OSError(number, "No space left on device", "/opt/ml/model/encoder.onnx"))
    assert line.startswith("UserError: the disk is full ")
    assert "/opt/ml/model/encoder.onnx" in line
    assert line.endswith("VolumeSizeInGB")


def test_everything_else_is_ours_with_its_type():
    assert reason(ValueError("x")) == "AlgorithmError: ValueError: x"
    assert reason(OSError(errno.EACCES, "Permission denied")).startswith("AlgorithmError: PermissionError: ")
    assert reason(MemoryError()) == "AlgorithmError: MemoryError"


def chained() -> RuntimeError:
    try:
        try:
            raise KeyError("root")
        except KeyError as error:
            raise ValueError("middle") from error
    except ValueError as error:
        outer = RuntimeError("outer")
        outer.__cause__ = error
        return outer


def test_root_cause_stands_in_the_first_line():
    assert reason(chained()) == "AlgorithmError: RuntimeError: outer (caused by KeyError: 'root')"


def test_suppressed_context_is_no_cause():
    error = RuntimeError("outer")
    error.__context__, error.__suppress_context__ = KeyError("x"), True
    assert reason(error) == "AlgorithmError: RuntimeError: outer"


def test_causes_that_go_in_a_circle():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert reason(one) == "AlgorithmError: ValueError: one (caused by ValueError: two)"


@pytest.mark.parametrize("error", [UserError("線" * 5000), ValueError("x" * 5000)])
def test_first_line_fits_into_failure_reason(error):
    line = reason(error)
    assert len(line) < 1024
    assert line.endswith("…")


def test_message_of_several_lines_becomes_one():
    assert reason(UserError("row 1: bad\n  row 2: bad\n")) == "UserError: row 1: bad row 2: bad"
