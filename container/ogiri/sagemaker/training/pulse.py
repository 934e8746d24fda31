"""What the hosts of a job tell each other while it runs: that they are there, that they are done, why they failed.

A machine that is lost says nothing, and a network that waits for it would do so for many minutes; each host therefore
gives a sign of life every second. A thread does it, so that the job goes on whatever the store takes for an answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

BEAT_SECONDS = 1.0
LOST_SECONDS = 20.0  # without a sign of life
LINGER_SECONDS = 10.0  # that the first host waits at the end for others to hear of it

FAILED, STOP = "failed", "stop"

_log = logging.getLogger(__name__)


class Pulse:
    """The signs of life of all hosts.

    Attributes:
        failed: why the job failed, as the host told that first noticed; empty while it has not.
        stop: some host was asked to end.
    """

    def __init__(self, store: Any, hosts: Sequence[str], rank: int) -> None:
        """Begin.

        Args:
            store: torch's, on the first host; used by one thread alone.
            hosts: the names of all.
            rank: of this host.
        """
        self.failed, self.stop = "", False
        self._store, self._hosts, self._rank = store, hosts, rank
        self._others = [n for n in range(len(hosts)) if n != rank]
        self._heard = dict.fromkeys(range(len(hosts)), time.monotonic())
        self._beats: dict[int, bytes] = {}
        self._gone: set[str] = set()
        self._say: dict[str, str] = {}
        self._said, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def tell(self, name: str, value: str = "1") -> None:
        """Let all hosts know; of two that tell `FAILED`, the first is heard."""
        self._said.clear()
        self._say[name] = value

    def lost(self) -> str:
        """The host that gives no sign of life any more; empty while all do."""
        silent = time.monotonic() - LOST_SECONDS
        if self._rank and self._heard[0] < silent:
            return self._hosts[0]  # it keeps the store: nothing is known of others without it
        found = [n for n in self._others if self._heard[n] < silent and f"bye/{n}" not in self._gone]
        return self._hosts[found[0]] if found else ""

    def all_done(self) -> bool:
        """Whether every host has told that it is done."""
        return all(f"done/{n}" in self._gone for n in range(len(self._hosts)))

    def leave(self) -> None:
        """Go; the first host, which keeps the store, goes last."""
        self.tell(f"bye/{self._rank}")
        deadline = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < deadline and self._thread.is_alive() and not self.lost():
            others = self._rank > 0 or all(f"bye/{n}" in self._gone for n in self._others)
            if others and self._said.is_set():
                break
            time.sleep(BEAT_SECONDS / 10)
        self._ended.set()

    def _run(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT_SECONDS / 2):
            beat += 1
            try:
                self._exchange(str(beat))
            except RuntimeError as error:  # as DistError is; `lost` tells of it in time
                if self._rank == 0 or f"done/{self._rank}" not in self._gone:
                    _log.warning("%s does not answer: %s", self._hosts[0], str(error).splitlines()[0])
                return

    def _exchange(self, beat: str) -> None:
        for name in list(self._say):
            value = self._say.pop(name)
            self._store.compare_set(name, "", value)
            self._gone.add(name)
        self._store.set(f"beat/{self._rank}", beat)
        for n in self._others:
            for state in (f"done/{n}", f"bye/{n}"):
                if state not in self._gone and self._store.check([state]):
                    self._gone.add(state)
            if self._store.check([f"beat/{n}"]):
                there = self._store.get(f"beat/{n}")
                if there != self._beats.get(n):
                    self._beats[n], self._heard[n] = there, time.monotonic()
        if not self.failed and self._store.check([FAILED]):
            self.failed = self._store.get(FAILED).decode()
        self.stop = self.stop or self._store.check([STOP])
        if not self._say:
            self._said.set()
