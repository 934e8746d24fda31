"""Where a demo keeps what it makes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Folders:
    """Where things lie below `out`."""

    out: Path

    @property
    def training(self) -> Path:
        """/opt/ml of the training job; a link."""
        return self.out / "opt-ml-train"

    @property
    def hosting(self) -> Path:
        """/opt/ml of the endpoint; a link."""
        return self.out / "opt-ml-serve"

    @property
    def archive(self) -> Path:
        """What SageMaker would keep in S3."""
        return self.out / "model.tar.gz"

    @property
    def page(self) -> Path:
        """What to look at."""
        return self.out / "index.html"

    @property
    def pictures(self) -> Path:
        """The job's `training` channel."""
        return self.training / "input" / "data" / "training"

    @staticmethod
    def link(path: Path, target: Path) -> None:
        """Let a path lead to what lies elsewhere below `out`, wherever that is moved."""
        path.symlink_to(target.relative_to(path.parent), target_is_directory=True)

    def metrics(self) -> dict[str, Any]:
        """The trainer's metrics.json."""
        path = self.training / "output" / "data" / "metrics.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def samples(self) -> list[dict[str, Any]]:
        """The trainer's samples.jsonl: what is known about each picture that was held out."""
        path = self.training / "output" / "data" / "samples.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.out / "logs" / f"{name}.log"
