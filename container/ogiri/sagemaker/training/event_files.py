"""The metrics of a job as TensorBoard reads them, with hyperparameters and a few samples as text."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_SAMPLES = 8
MAX_CELL_CHARACTERS = 200


class EventFiles:
    """Event files in one folder.

    A file is begun at the first event. Its first record says that everything from that step on is told anew: a job that
    was restarted from a checkpoint repeats the epochs since then, and TensorBoard forgets what it had of them.
    """

    def __init__(self, folder: Path, hyperparameters: Mapping[str, Any], samples: Path) -> None:
        """Keep what is written later.

        Args:
            folder: for the files, made when there is something to write.
            hyperparameters: of the job.
            samples: JSON lines, looked for when the job ends.
        """
        self._folder = folder
        self._hyperparameters = hyperparameters
        self._samples = samples
        self._writer: Any = None
        self._step = 0

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Write each value at `step`."""
        # tensorboardX imports torch where there is one: not before something is trained
        from tensorboardX.summary import scalar

        if self._writer is None:
            self._begin(step)
        self._step = step
        self._write(step, [scalar(name, value) for name, value in values.items()])

    def close(self, status: str, reason: str) -> None:  # noqa: ARG002  every follower is told
        """Add samples, if the job left any."""
        if self._writer is None:
            return
        samples = _read_samples(self._samples)
        if samples:
            self._write_text("samples", _table(list(samples[0]), [list(sample.values()) for sample in samples]))
        self._writer.close()
        self._writer = None

    def _begin(self, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._folder.mkdir(parents=True, exist_ok=True)
        # Not SummaryWriter: it hands events to a thread, and waits for that forever once a full disk has ended it.
        self._writer = EventsWriter(str(self._folder / "events"), f".{time.time_ns()}")
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=step, session_log=start))
        self._step = step
        self._write_text("hyperparameters", _table(["name", "value"], self._hyperparameters.items()))

    def _write_text(self, tag: str, markdown: str) -> None:
        from tensorboardX.summary import text

        self._write(self._step, [text(tag, markdown)])

    def _write(self, step: int, summaries: Iterable[Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event

        for summary in summaries:
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()


def _read_samples(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(MAX_SAMPLES), strict=False)]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.replace("|", "\\|").split())
    return text if len(text) <= MAX_CELL_CHARACTERS else text[: MAX_CELL_CHARACTERS - 1] + "…"
