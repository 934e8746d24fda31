"""The real container/train as a process of its own, with a toy in the place of a model."""

import json
import os
import subprocess
import sys
from pathlib import Path

LAUNCH = Path(__file__).parent / "launch.py"
TIMEOUT_SECONDS = 60


class Job:
    """A base folder, and the process that trains in it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.failure = base / "output" / "failure"
        self.model = base / "model"
        (base / "input" / "config").mkdir(parents=True)

    def config(self, name: str, content) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.base / "input" / "config" / f"{name}.json").write_text(text, encoding="utf-8")

    def start(self, *, command=None, arguments=("train",), **environment) -> subprocess.Popen:
        others = ("PYTHON", "TRAINING_", "MLFLOW_", "OGIRI_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return subprocess.Popen(
            [*(command or (sys.executable, str(LAUNCH))), *arguments],
            env={**kept, "SAGEMAKER_BASE_DIR": str(self.base), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd="/",
        )

    def run(self, hyperparameters=None, **options) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        if hyperparameters is not None:
            self.config("hyperparameters", {"task": "toy", **hyperparameters})
        process = self.start(**options)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        return process.returncode, out, err

    def reason(self) -> str:
        return self.failure.read_text(encoding="utf-8").splitlines()[0]
