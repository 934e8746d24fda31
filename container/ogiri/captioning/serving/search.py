"""How the lines of one picture are found, and how several such searches go through the engine together.

A search holds rows of the decoder's batch. At each step it gets their logits and says which rows live on (one may
live on several times: candidates share the prefill, and beams branch) and which token each of them takes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ogiri.captioning.serving import sampling
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.line import Caption, Line, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.sampling import Floats
from ogiri.captioning.serving.state import State

SEED_BITS = 63


@dataclass(frozen=True)
class Move:
    """The next step of a search; nothing in it once the search is over.

    Attributes:
        rows: which of its rows go on, numbered from 0 within the search.
        tokens: what each of them takes.
    """

    rows: list[int]
    tokens: list[int]


class Search(Protocol):
    """Finds the lines of one picture."""

    settled: str
    """What the text of the best caption begins with for sure, without white space at its end."""

    def advance(self, logits: Floats) -> Move:
        """Go on by a token. Args: logits: (rows, vocabulary); one row at first, then those of the last move."""

    def captions(self) -> list[Caption]:
        """The lines, best first, once the search is over; as many as were asked for."""


class Sampling:
    """Candidates drawn side by side, each from its own random numbers, so that none depends on another."""

    def __init__(self, rules: Rules, parameters: Parameters) -> None:
        """A seed in `parameters` fixes every candidate; without one they differ each time."""
        self.settled = ""
        self._rules, self._parameters = rules, parameters
        # Greedy candidates would all be the same line: one is written, `captions` repeats it.
        count = parameters.num_candidates if parameters.temperature > 0 else 1
        seed = secrets.randbits(SEED_BITS) if parameters.seed is None else parameters.seed
        self._draws = [np.random.default_rng((seed, candidate)) for candidate in range(count)]
        self._lines = [Line()] * count
        self._live = list(range(count))
        self._captions: list[Caption] = []

    def advance(self, logits: Floats) -> Move:
        """See `Search.advance`."""
        normalisers = sampling.log_normalisers(logits)
        move, live = Move([], []), []
        for position, candidate in enumerate(self._live):
            row = min(position, len(logits) - 1)  # at first there is one row for all
            line = self._lines[candidate]
            token = self._choose(line, logits[row], self._draws[candidate])
            log_probability = float(logits[row, token] - normalisers[row])
            if token == self._rules.end:
                self._captions.append(self._rules.caption(line, log_probability))
                continue
            self._lines[candidate] = self._rules.extended(line, token, log_probability)
            live.append(candidate)
            move.rows.append(row)
            move.tokens.append(token)
        self._live = live
        if len(self._lines) == 1:
            self.settled = self._lines[0].text.rstrip()
        return move

    def captions(self) -> list[Caption]:
        """See `Search.captions`."""
        return filled(sorted(self._captions, key=order), self._parameters.num_candidates)

    def _choose(self, line: Line, logits: Floats, draws: np.random.Generator) -> int:
        """The next token; the end token where nothing else is left."""
        p, scores = self._parameters, logits.copy()
        sampling.penalise(scores, line.tokens, p.repetition_penalty)
        scores[self._rules.forbidden(line)] = -np.inf
        while True:
            token = sampling.pick(scores, p.temperature, p.top_k, p.top_p, draws.random())
            if token == sampling.NOTHING:
                return self._rules.end
            if token == self._rules.end or self._rules.allows(line, token):
                return token
            scores[token] = -np.inf


def order(caption: Caption) -> tuple[float, tuple[int, ...]]:
    """Sort key: best first, and equal scores always in the same order."""
    return -caption.score, caption.tokens


def filled(captions: list[Caption], count: int) -> list[Caption]:
    """Exactly `count` captions: the best, or all of them and the best ones again."""
    return sorted((captions * count)[:count], key=order)


def run(engine: Engine, logits: Floats, state: State, searches: Sequence[Search]) -> Iterator[None]:
    """Step searches together until all are over.

    Args:
        engine: what steps them.
        logits: (searches, vocabulary) as prefill gave them, a row a search.
        state: as prefill gave it.
        searches: fresh ones.

    Yields:
        After every step, so that the caller may look at what is settled, at the clock, and stop.
    """
    sizes = [1] * len(searches)
    while True:
        rows: list[int] = []
        tokens: list[int] = []
        start = 0
        for number, search in enumerate(searches):
            size = sizes[number]
            if size:
                move = search.advance(logits[start : start + size])
                rows += [start + row for row in move.rows]
                tokens += move.tokens
                sizes[number] = len(move.rows)
                start += size
        yield
        if not rows:
            return
        logits, state = engine.step(np.array(tokens), state.take(rows))
