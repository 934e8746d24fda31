"""`serve`, with the task `echo` in its table."""

import os
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "container"))

from ogiri import task
from ogiri.sagemaker.hosting import application_server, supervisor

SERVE = Path(__file__).resolve().parents[2] / "container" / "serve"

application_server.HUNG_SECONDS = int(os.environ.get("ECHO_HUNG_SECONDS", application_server.HUNG_SECONDS))
supervisor.GRACE_SECONDS = int(os.environ.get("ECHO_GRACE_SECONDS", supervisor.GRACE_SECONDS))

task.TASKS = {**task.TASKS, "echo": ("echo", "")}

runpy.run_path(str(SERVE), run_name="__main__")
