import errno
import os
import subprocess

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
    assert list((tmp_path / "output").iterdir()) == []


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


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),  # torch, see its context
    ],
)
def test_full_disk_behind_the_error_of_a_library(error):
    if "unexpected pos" in str(error):
        error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert reason(error).startswith("UserError: the disk is full (")
    assert "No space left on device" in reason(error)


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "MemoryError"),
        (MemoryError("Unable to allocate 7 EiB"), "Unable to allocate 7 EiB"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee"), "CUDA out of memory. Tried"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), "DefaultCPUAll"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "CUDA error: CUBLAS"),
    ],
)
def test_out_of_memory_names_the_ways_out(error, said):
    line = reason(error)
    assert line.startswith(f"UserError: out of memory ({said}")
    assert line.endswith("): lower batch_size, or take a larger instance type")
    outer = ValueError("outer")
    outer.__cause__ = error
    assert reason(outer) == line


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_what_really_runs_out_of_memory_is_known(library):
    module = pytest.importorskip(library)
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        module.empty(1 << 50)
    assert reason(caught.value).startswith("UserError: out of memory (")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_without_a_byte_left_has_room_for_the_failure(small_disk):
    def fill():
        with (small_disk / "other").open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()

    path = small_disk / "output" / "failure"
    assert exit_status(fill, path) == 1
    assert path.read_text(encoding="utf-8").startswith("UserError: the disk is full ([Errno 28] No space left")
    assert [file.name for file in path.parent.iterdir()] == ["failure"]


def test_everything_else_is_ours_with_its_type():
    assert reason(ValueError("x")) == "AlgorithmError: ValueError: x"
    assert reason(OSError(errno.EACCES, "Permission denied")).startswith("AlgorithmError: PermissionError: ")


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
