"""Starts container/train, with `toy_trainer` as one task more."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "container"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ogiri import task

sys.modules["torch"] = None  # the toy needs none, and what writes event files would import it: seconds a test
task.TASKS = {**task.TASKS, "toy": ("", "toy_trainer")}
runpy.run_path(str(Path(__file__).resolve().parents[3] / "container" / "train"), run_name="__main__")
