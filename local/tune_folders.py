"""Where a search keeps what it makes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

PICTURE_FILES = ("feature_maps*", "pixels*")  # of a job's checkpoints: what its encoder has made of the pictures


@dataclass(frozen=True)
class TuneFolders:
    """Where things lie below `out`."""

    out: Path

    @property
    def data(self) -> Path:
        """A folder for each channel."""
        return self.out / "data"

    @property
    def source_file(self) -> Path:
        """What `data` was made from; written when it is whole."""
        return self.data / "source"

    @property
    def pictures(self) -> Path:
        """What one trial has encoded for the next."""
        return self.out / "pictures"

    @property
    def trial(self) -> Path:
        """/opt/ml of the trial that runs."""
        return self.out / "trial"

    @property
    def best(self) -> Path:
        """/opt/ml of the best trial: its model, its reports."""
        return self.out / "best"

    @property
    def logs(self) -> Path:
        """What the trials have printed."""
        return self.out / "logs"

    @property
    def storage(self) -> Path:
        """Every trial of every search."""
        return self.out / "trials.sqlite3"

    @property
    def page(self) -> Path:
        """What to look at."""
        return self.out / "report.html"

    @property
    def best_file(self) -> Path:
        """The best hyperparameters."""
        return self.out / "best.json"

    def channel(self, name: str) -> Path:
        """The folder of a channel."""
        return self.data / name

    def log(self, number: int) -> Path:
        """The log of a trial."""
        return self.logs / f"trial-{number:03}.log"

    def source(self) -> str:
        """What `data` was made from, empty where it is not whole."""
        return self.source_file.read_text(encoding="utf-8") if self.source_file.is_file() else ""

    def lend_pictures(self) -> None:
        """Give the trial what an earlier one has encoded; if that was for another encoder, the job encodes anew."""
        if self.pictures.is_dir():
            _link_all(self.pictures, self.trial / "checkpoints")

    def keep_pictures(self) -> None:
        """Take what the trial has encoded, always all of it: data and description belong together."""
        shutil.rmtree(self.pictures, ignore_errors=True)
        _link_all(self.trial / "checkpoints", self.pictures)

    def end_trial(self, keep: bool) -> None:
        """Keep the trial's folder as that of the best one, or remove it."""
        if keep:
            shutil.rmtree(self.best, ignore_errors=True)
            shutil.rmtree(self.trial / "checkpoints", ignore_errors=True)
            self.trial.rename(self.best)
        else:
            shutil.rmtree(self.trial)


def _link_all(source: Path, target: Path) -> None:
    """Hard links, so that gigabytes take neither time nor room twice."""
    target.mkdir(parents=True, exist_ok=True)
    for pattern in PICTURE_FILES:
        for path in source.glob(pattern):
            os.link(path, target / path.name)
