"""`serve`, with the task `echo` in its table."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "container"))

from ogiri import task

SERVE = Path(__file__).resolve().parents[2] / "container" / "serve"

task.TASKS = {**task.TASKS, "echo": ("echo", "")}

runpy.run_path(str(SERVE), run_name="__main__")
