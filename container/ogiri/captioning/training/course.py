"""Where a job stands: the seconds of each part, and a marker that outlives an end without a word.

A process that the kernel kills for its memory, and one whose machine is lost, can say nothing; the marker that it
leaves beside the checkpoints lets the restarted job say it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

MARKER = "running.json"  # goes to S3 with the checkpoints, so that a job on another machine finds it

log = logging.getLogger(__name__)


class Course:
    """The parts of a job one after the other; a context that ends with it, well or not.

    Attributes:
        laps: seconds of the parts that are done.
    """

    def __init__(self, folder: Path, job_name: str, batch_size: int, leads: bool = True) -> None:
        """Nothing is written yet.

        Args:
            folder: of checkpoints.
            job_name: of the training job.
            batch_size: named where memory may have run out.
            leads: whether this process of the job keeps the marker.
        """
        self.laps: dict[str, float] = {}
        self._leads = leads
        self._marker, self._job_name, self._batch_size = folder / MARKER, job_name, batch_size
        self._part, self._epoch, self._since = "", 0, time.monotonic()

    def __enter__(self) -> Course:
        if self._leads:
            self._tell_of_the_last_run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._lap()
        if self._leads:
            self._marker.unlink(missing_ok=True)

    def begin(self, part: str) -> None:
        """The next part, which ends the one before."""
        self._lap()
        self._part, self._since = part, time.monotonic()
        self._mark()

    def following(self, report: Callable[[Mapping[str, float]], None]) -> Callable[[Mapping[str, float]], None]:
        """`report`, which takes the metrics of an epoch; the marker follows."""

        def take(values: Mapping[str, float]) -> None:
            report(values)
            self._epoch = int(values.get("epoch", self._epoch))
            self._mark()

        return take

    def _lap(self) -> None:
        if self._part:
            self.laps[self._part] = round(time.monotonic() - self._since, 2)
            log.info("%s: %.1f s", self._part, self.laps[self._part])

    def _mark(self) -> None:
        if not self._leads:
            return
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._marker.with_name(self._marker.name + ".sagemaker-ignore")
        temporary.write_text(json.dumps({"job": self._job_name, "part": self._part, "epoch": self._epoch}))
        os.replace(temporary, self._marker)

    def _tell_of_the_last_run(self) -> None:
        try:
            last: dict[str, Any] = json.loads(self._marker.read_text(encoding="utf-8"))
            job, part, epoch = last["job"], last["part"], int(last["epoch"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read (%s): the last run ended without a word", self._marker, error)
            return
        if job == self._job_name:
            self._epoch = epoch  # until an epoch of this run is done
        log.warning(
            "the last run%s ended without a word in the part %s, after epoch %d: most likely it ran out of memory, or "
            "its machine was lost; if that comes again, take a larger instance type, or a batch_size below %d",
            "" if job == self._job_name else f" here, of training job {job}, still goes on elsewhere or",
            part,
            epoch,
            self._batch_size,
        )
