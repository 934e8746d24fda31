import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ogiri.sagemaker.training import claim
from ogiri.task import UserError

HOLD = """
import sys, time
from pathlib import Path
from ogiri.sagemaker.training import claim
with claim.hold(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    path = os.pathsep.join([str(Path(__file__).parents[3] / "container"), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "job-8"], env={**os.environ, "PYTHONPATH": path}, stdout=-1
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_another_job_holds_is_refused_by_name(tmp_path, other):
    with pytest.raises(UserError) as caught, claim.hold(tmp_path, "job-7"):
        pass
    assert str(caught.value).startswith(
        f"the checkpoint folder {tmp_path} is in use by training job job-8 (process {other.pid}): give each job"
    )


def test_a_killed_job_holds_nothing(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with claim.hold(tmp_path, "job-8"):
        pass


def test_the_folder_is_free_after_the_block(tmp_path):
    for name in ("job-7", "job-8"):
        with claim.hold(tmp_path, name):
            assert name in (tmp_path / claim.LOCK).read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["job.lock.sagemaker-ignore"]
