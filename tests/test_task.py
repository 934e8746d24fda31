import subprocess
import sys
import time

import pytest

from ogiri import task
from ogiri.task import Answer, Deadline, Piece, RequestError


class Speaks:
    """A predictor that says what it is given."""

    def __init__(self, *parts):
        self.parts = parts

    def submit(self, request, deadline, cancelled):
        for part in self.parts:
            if cancelled():
                return
            yield part


def never():
    return False


def test_answer_is_what_the_pieces_end_in():
    whole = Answer({"captions": []}, "布団が吹っ飛んだ")
    assert task.answer(Speaks(Piece("布団が"), Piece("吹っ飛んだ"), whole), None, Deadline.after(1), never) is whole


@pytest.mark.parametrize("parts", [(), (Piece("布団が"),)])
def test_no_answer_at_the_end_is_a_cancelled_request(parts):
    with pytest.raises(RequestError) as caught:
        task.answer(Speaks(*parts), None, Deadline.after(1), never)
    assert (caught.value.code, caught.value.status) == ("cancelled", 503)


def test_cancelled_before_it_began():
    with pytest.raises(RequestError, match="cancelled"):
        task.answer(Speaks(Answer({}, "")), None, Deadline.after(1), lambda: True)


def test_request_error_is_a_400_unless_said_otherwise():
    error = RequestError("no picture")
    assert (error.status, error.code, str(error)) == (400, "invalid_request", "no picture")


def test_deadline_passes():
    assert 59 < Deadline.after(60).remaining_seconds() <= 60
    assert Deadline(time.monotonic() - 5).remaining_seconds() < -4


def test_unknown_task_is_refused_naming_those_known():
    for load in (task.load_trainer, lambda name: task.load_predictor(name, None)):
        with pytest.raises(ValueError, match=r"task is 'captoin': this image knows .*caption"):
            load("captoin")


def test_the_table_is_names_only():
    code = "import sys, ogiri.task; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'ogiri.captioning')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
