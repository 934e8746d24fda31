"""Continuous batching: lines of different requests share each step of the decoder.

A new line joins at the next step and one that has ended leaves at once. Rows at different steps, candidates that share
their prefill, beams that change places and lines that are only read (`rescoring`) stand side by side.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.serving.interface import CaptionEngine
from ogiri.captioning.serving.sampling import Logits
from ogiri.captioning.serving.search import Move, Stepped


@dataclass(frozen=True)
class Start:
    """Some lines that begin beside one prefix.

    Attributes:
        maps: (1, cells, channels), or None where there is no picture.
        conditions: what else is known.
        stepped: who chooses the tokens.
    """

    maps: npt.NDArray[Any] | None
    conditions: Conditions
    stepped: Stepped


class Task(Protocol):
    """What is to be decoded for one request."""

    def begin(self) -> Start | None:
        """What comes first, and after its end what comes next; None once there is nothing left."""


@dataclass
class _Running:
    task: Task
    stepped: Stepped
    rows: list[int] = field(default_factory=list)  # of the slab, in the order in which `stepped` counts them
    tokens: list[int] = field(default_factory=list)  # that they take next


@dataclass(frozen=True)
class Ended:
    """A task that is over: all is decoded, or `error` came up."""

    task: Task
    error: Exception | None = None


class Decoding:
    """Tasks on one engine. To be used by one thread."""

    def __init__(self, engine: CaptionEngine, bos: int, tokens: int, known: int = 0) -> None:
        """Args: bos: the begin token. tokens: of a line. known: labels and pieces of text of a picture at most."""
        self._engine, self._bos = engine, bos
        self._slab = engine.slab(tokens, known)
        self._waiting: deque[tuple[Task, Start]] = deque()
        self._running: list[_Running] = []
        self.steps = self.row_steps = 0

    @property
    def tasks(self) -> int:
        """How many are not over."""
        return len(self._waiting) + len(self._running)

    @property
    def rows(self) -> int:
        """How many lines are stepped together."""
        return self._slab.rows

    def add(self, task: Task) -> None:
        """Let a task begin at the next step, or as soon as there is room for it."""
        start = task.begin()
        if start is not None:
            self._waiting.append((task, start))

    def drop(self, task: Task) -> None:
        """Give a task up."""
        self._waiting = deque(one for one in self._waiting if one[0] is not task)
        for one in [one for one in self._running if one.task is task]:
            self._running.remove(one)
            self._fill(one.rows)

    def rest(self) -> None:
        """Give memory back where nothing is written."""
        if not self.tasks:
            self._slab.rest()

    def step(self) -> list[Ended]:
        """Take every line one token further; tasks that wait come in first.

        Returns:
            What is over. An error of the common step ends all that take part, any other its task alone.
        """
        ended = self._admit()
        if not self._running:
            return ended
        tokens = [0] * self._slab.rows
        for one in self._running:
            for row, token in zip(one.rows, one.tokens, strict=True):
                tokens[row] = token
        try:
            logits = Logits.of(self._slab.step(tokens))
        except Exception as error:
            ended += [Ended(one.task, error) for one in self._running]
            self._running.clear()
            self._slab.cut(0)
            return ended
        self.steps += 1
        self.row_steps += self._slab.rows
        freed: list[int] = []
        for one in list(self._running):
            try:
                move = one.stepped.advance(logits.take(one.rows))
            except Exception as error:
                freed += one.rows
                self._running.remove(one)
                ended.append(Ended(one.task, error))
                continue
            freed += self._take(one, move, freed)
            if not move.rows:
                self._running.remove(one)
                self._go_on(one.task, ended)
        self._fill(freed)
        return ended

    def _admit(self) -> list[Ended]:
        ended: list[Ended] = []
        while self._waiting:
            task, start = self._waiting[0]
            taken = sum(one.stepped.width for one in self._running)
            if taken >= self._slab.plenty or (taken and taken + start.stepped.width > self._slab.capacity):
                break  # in the order in which they came: none is overtaken for ever
            self._waiting.popleft()
            first = self._slab.rows
            try:
                known = self._engine.known(start.maps, stack_conditions([start.conditions]))
                move = start.stepped.advance(Logits.of(self._slab.prefill(first, known, self._bos)).take([0]))
            except Exception as error:
                self._slab.cut(first)
                ended.append(Ended(task, error))
                continue
            if not move.rows:
                self._slab.cut(first)
                self._go_on(task, ended)
                continue
            rows = [first + number for number in range(len(move.rows))]
            for row in rows[1:]:
                self._slab.copy(first, row)
            self._running.append(_Running(task, start.stepped, rows, move.tokens))
        return ended

    def _go_on(self, task: Task, ended: list[Ended]) -> None:
        try:
            start = task.begin()
        except Exception as error:
            ended.append(Ended(task, error))
            return
        if start is None:
            ended.append(Ended(task))
        else:
            self._waiting.append((task, start))

    def _take(self, one: _Running, move: Move, freed: list[int]) -> list[int]:
        """Let the rows of a task be those of its move; returns the rows that it needs no more."""
        sources = [one.rows[row] for row in move.rows]
        spare = [row for row in one.rows if row not in set(sources)]
        stayed: set[int] = set()
        rows = []
        for source in sources:
            if source not in stayed:
                stayed.add(source)
                rows.append(source)
                continue
            target = spare.pop() if spare else freed.pop() if freed else self._slab.rows
            self._slab.copy(source, target)
            rows.append(target)
        one.rows, one.tokens = rows, move.tokens
        return spare

    def _fill(self, freed: list[int]) -> None:
        """Put the last rows into the places of those that are needed no more."""
        free = set(freed)
        place = {row: (one, index) for one in self._running for index, row in enumerate(one.rows)}
        last = self._slab.rows - 1
        for hole in sorted(free):
            while last in free and last > hole:
                last -= 1
            if last <= hole:
                break
            self._slab.copy(last, hole)
            one, index = place[last]
            one.rows[index] = hole
            last -= 1
        self._slab.cut(self._slab.rows - len(free))
