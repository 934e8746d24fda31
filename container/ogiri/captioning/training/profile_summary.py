"""Where the time of a job went: the page `profile.txt`, and beside it `trace.json`, a trace of the first ten steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

PROFILED_STEPS = 10
TOP_OPERATORS = 15
TRACE_FILE, SUMMARY_FILE = "trace.json", "profile.txt"
PARTS = ("data", "forward", "backward", "optimizer", "rest", "validation")
DATA, FORWARD, BACKWARD, OPTIMIZER, REST, VALIDATION = PARTS

Operator = tuple[str, float, int]
"""Name, seconds of its own, calls."""

log = logging.getLogger(__name__)


class Profile:
    """That of a job which asks for none: it takes nothing."""

    def part(self, name: str) -> None:
        """What was done since the last call belongs to this part of a step."""

    @contextmanager
    def epoch(self, traced: bool) -> Iterator[Callable[[], object]]:  # noqa: ARG002
        """An epoch's steps; the block calls what it is given after each of them.

        Args:
            traced: whether its first steps are.
        """
        yield lambda: None

    def following(self, report: Callable[[Mapping[str, float]], None]) -> Callable[[Mapping[str, float]], None]:
        """`report`, which takes the metrics of an epoch once it is validated."""
        return report

    def write(self, laps: Mapping[str, float]) -> None:
        """Write the page; `laps` are the seconds of the parts of the job."""


class WrittenProfile(Profile):
    """Takes the times of the parts of each step, and a trace of the first steps.

    The work of a GPU is waited for at the end of each part, so that its time is not taken for that of a later one.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Args: folder: for both files; device: that the steps run on."""
        self._folder, self._device = folder, device
        self._since = time.monotonic()
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._epochs: list[dict[str, float]] = []
        self._operators: list[Operator] = []

    def part(self, name: str) -> None:
        """See `Profile.part`."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.monotonic()
        self._seconds[name] += now - self._since
        self._since = now

    @contextmanager
    def epoch(self, traced: bool) -> Iterator[Callable[[], object]]:
        """See `Profile.epoch`."""
        steps = self._trace() if traced else iter(())
        next(steps, None)
        self.part(REST)
        hook = register_optimizer_step_pre_hook(lambda *_: self.part(BACKWARD))
        try:
            yield lambda: next(steps, None)
        finally:
            hook.remove()
            for _ in steps:  # an epoch of fewer steps
                pass
        self.part(REST)

    def following(self, report: Callable[[Mapping[str, float]], None]) -> Callable[[Mapping[str, float]], None]:
        """See `Profile.following`."""

        def take(values: Mapping[str, float]) -> None:
            self.part(VALIDATION)
            if not self._seconds[OPTIMIZER]:  # nobody takes the parts of self-critical training
                steps = min(values["epoch_seconds"], self._seconds[VALIDATION])
                self._seconds[REST], self._seconds[VALIDATION] = steps, self._seconds[VALIDATION] - steps
            self._epochs.append({"epoch": values["epoch"], **self._seconds})
            self._seconds = dict.fromkeys(PARTS, 0.0)
            report(values)

        return take

    def write(self, laps: Mapping[str, float]) -> None:
        """See `Profile.write`."""
        path = self._folder / SUMMARY_FILE
        path.write_text(page(laps, self._epochs, self._operators), encoding="utf-8")
        log.info("where the time went is in %s", path)

    def _trace(self) -> Iterator[None]:
        profiler = torch.profiler.profile()
        profiler.start()
        for _ in range(PROFILED_STEPS):
            yield
        profiler.stop()
        trace = self._folder / TRACE_FILE
        profiler.export_chrome_trace(str(trace))
        log.info("trace of the first steps in %s", trace)
        on_gpu = self._device.type == "cuda"
        self._operators = [
            (event.key, (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6, event.count)
            for event in profiler.key_averages()
        ]


def page(laps: Mapping[str, float], epochs: Sequence[Mapping[str, float]], operators: Sequence[Operator]) -> str:
    """The summary as plain text.

    Args:
        laps: seconds of the parts of the job.
        epochs: seconds of the `PARTS` of each epoch of this run, and its number `epoch`.
        operators: of the first steps.
    """
    parts = [*_job(laps), "", *_epochs(epochs), "", *_operators(operators)]
    return "\n".join(parts) + "\n"


def _job(laps: Mapping[str, float]) -> list[str]:
    total = sum(laps.values())
    rows = [[name, _seconds(spent), _share(spent, total)] for name, spent in laps.items()]
    return [
        "Where the time of this job went, from the records to the report (the import of torch is not counted)",
        "",
        *_table([["part", "seconds", "share"], *rows, ["all", _seconds(total), _share(total, total)]]),
    ]


def _epochs(epochs: Sequence[Mapping[str, float]]) -> list[str]:
    sums = {name: sum(epoch[name] for epoch in epochs) for name in PARTS}
    total = sum(sums.values())
    rows = [[str(int(epoch["epoch"])), *(_seconds(epoch[name]) for name in PARTS)] for epoch in epochs]
    return [
        "Seconds of each epoch of this run.",
        f"{DATA}: batches are put together; {FORWARD}: to the loss, with an encoder that is trained; {BACKWARD}: the",
        f"gradient is clipped, too; {OPTIMIZER}: with the average of the weights; {REST}: checkpoints, the trace, and",
        f"all of self-critical training; {VALIDATION}: lines that are written for it, too.",
        "",
        *_table(
            [
                ["epoch", *PARTS],
                *rows,
                ["all", *(_seconds(sums[name]) for name in PARTS)],
                ["share", *(_share(sums[name], total) for name in PARTS)],
            ]
        ),
    ]


def _operators(operators: Sequence[Operator]) -> list[str]:
    if not operators:
        return ["No steps were traced: this run went on from a checkpoint."]
    total = sum(spent for _, spent, _ in operators)
    top = sorted(operators, key=lambda one: -one[1])[:TOP_OPERATORS]
    rows = [[name, _seconds(spent), _share(spent, total), f"{calls:,}"] for name, spent, calls in top]
    return [
        f"Operators of the first {PROFILED_STEPS} steps by their own time, without that of others that they call",
        "",
        *_table([["operator", "seconds", "share", "calls"], *rows]),
    ]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose first column is left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _seconds(value: float) -> str:
    return f"{value:,.2f}"


def _share(value: float, total: float) -> str:
    return f"{value / total:.1%}" if total else "–"
