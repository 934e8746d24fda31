"""The numbered steps of a program: what each does, how far it is, how long it took."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from local import interruption

QUARTERS = 4  # progress lines of a long step where there is no terminal
LONG = 40  # units of work


class Step:
    """One step while it runs; `result` is printed at its end."""

    def __init__(self) -> None:
        self.result = ""
        self._bar: Any = None
        self._quarter = 0

    def say(self, text: str) -> None:
        """Print a line below the step's title, above its progress bar."""
        tqdm.write(f"      {text}", file=sys.stdout)
        sys.stdout.flush()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Show how far the step is: a bar on a terminal, now and then a line elsewhere."""
        interruption.check()
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(
                    total=total, leave=False, bar_format="      {bar:30} {n}/{total}, {remaining} left{postfix}"
                )
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)
        elif total >= LONG or note:
            quarter = done * QUARTERS // total
            if quarter > self._quarter:
                self._quarter = quarter
                self.say(f"{done} of {total} {note}".rstrip())

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.close()


class Steps:
    """Counts the steps and keeps their times."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step, and say at its end what came of it and how long it took."""
        interruption.check()
        print(f"[{len(self.seconds) + 1}/{self._total}] {title}", flush=True)
        step = Step()
        started = time.monotonic()
        try:
            yield step
        finally:
            step.close()
        self.seconds[title] = time.monotonic() - started
        print(f"      {step.result + ', ' if step.result else ''}{self.seconds[title]:.1f} s", flush=True)
