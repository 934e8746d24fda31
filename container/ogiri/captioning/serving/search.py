"""How the lines of one picture are found.

A search holds rows of the decoder's batch. At each step it gets their logits and says which rows live on (one may
live on several times: candidates share the prefill, and beams branch) and which token each of them takes.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple, Protocol

import numpy as np

from ogiri.captioning.serving import ranking, sampling
from ogiri.captioning.serving.line import Caption, Line, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.sampling import Logits

SEED_BITS = 63

REDRAWS = 2
"""How often a candidate that came out equal to an earlier one is written anew; each time takes at most as long as the
first. Of eight candidates for each of 40 Flickr8k pictures 99.1 % differed without, and all with two, at the default
temperature; at 0.4 91 and 98 %; at 0.2 65 and 83 %, and 87 % with four."""


class Move(NamedTuple):
    """The next step of a search; nothing in it once the search is over.

    Attributes:
        rows: which of its rows go on, numbered from 0 within the search.
        tokens: what each of them takes.
    """

    rows: list[int]
    tokens: list[int]


class Stepped(Protocol):
    """Some rows that go through the engine."""

    @property
    def width(self) -> int:
        """How many rows it may have from now on, at most."""

    def advance(self, logits: Logits) -> Move:
        """Go on by a token. Args: logits: one row at first, then those of the last move."""


class Search(Stepped, Protocol):
    """Finds the lines of one picture."""

    settled: str
    """What the text of the best caption begins with for sure, without white space at its end."""

    unconditional: ranking.Unconditional
    """How likely the lines of the pool are with nothing known: to be filled in where the ranking needs it, and the
    pool has more than one line."""

    def redraw(self) -> bool:
        """Begin again with the lines that are to be written anew, once all are over; False where there are none."""

    def pool(self) -> list[Caption]:
        """Every line to choose from, once the search is over."""

    def captions(self) -> list[Caption]:
        """The lines, best first, once the search is over; as many as were asked for."""


class Sampling:
    """Candidates drawn side by side, each from its own random numbers.

    A candidate that comes out equal to an earlier one goes on with its random numbers from the start of a line, up to
    `REDRAWS` times. So the first n candidates of a seed are the same however many there are.
    """

    def __init__(self, rules: Rules, parameters: Parameters) -> None:
        """A seed in `parameters` fixes every candidate; without one they differ each time."""
        self.settled = ""
        self.unconditional: ranking.Unconditional = {}
        self._rules, self._parameters = rules, parameters
        # Greedy candidates would all be the same line: one is written, `captions` repeats it.
        greedy = parameters.temperature == 0 or parameters.top_k == 1
        count = 1 if greedy else parameters.pool
        seed = secrets.randbits(SEED_BITS) if parameters.seed is None else parameters.seed
        self._draws = [np.random.default_rng((seed, candidate)) for candidate in range(count)]
        self._lines = [Line()] * count
        self._written = np.zeros((count, rules.vocabulary.size), np.bool_)
        self._live = list(range(count))
        self._captions: dict[int, Caption] = {}
        self._redraws_left = REDRAWS

    @property
    def width(self) -> int:
        """See `Search.width`."""
        return len(self._live)

    def advance(self, logits: Logits) -> Move:
        """See `Search.advance`."""
        move, live = Move([], []), []
        for position, candidate in enumerate(self._live):
            row = min(position, len(logits) - 1)  # at first there is one row for all
            line = self._lines[candidate]
            token = self._choose(candidate, logits, row)
            log_probability = float(logits.values[row, token] - logits.normalisers[row])
            if token == self._rules.end:
                self._captions[candidate] = self._rules.caption(line, log_probability)
                continue
            self._lines[candidate] = self._rules.extended(line, token, log_probability)
            self._written[candidate][token] = True
            live.append(candidate)
            move.rows.append(row)
            move.tokens.append(token)
        self._live = live
        if len(self._lines) == 1:
            self.settled = self._lines[0].text.rstrip()
        return move

    def redraw(self) -> bool:
        """See `Search.redraw`."""
        earlier: set[str] = set()
        equal = []
        for candidate, caption in sorted(self._captions.items()):
            if caption.text in earlier:
                equal.append(candidate)
            earlier.add(caption.text)
        if not equal or not self._redraws_left:
            return False
        self._redraws_left -= 1
        for candidate in equal:
            self._lines[candidate] = Line()
            self._written[candidate] = False
        self._live = equal
        return True

    def pool(self) -> list[Caption]:
        """See `Search.pool`."""
        return list(self._captions.values())

    def captions(self) -> list[Caption]:
        """See `Search.captions`."""
        measure = ranking.measure(self._parameters.ranking, self.unconditional)
        return ranking.best(self.pool(), self._parameters.num_candidates, measure)

    def _choose(self, candidate: int, logits: Logits, row: int) -> int:
        """The next token; the end token where nothing else is left.

        Mostly it is one of a hundred that are known to be the best, so that nobody looks at the others.
        """
        p, line, draws = self._parameters, self._lines[candidate], self._draws[candidate]
        tokens: sampling.Ints | None = logits.favourites[row]
        scores, refused = self._scores(candidate, logits.values[row], tokens), list[int]()
        while True:
            if tokens is not None and not sampling.hold_the_best(scores, logits.floors[row], p.temperature, p.top_k):
                tokens, scores = None, self._scores(candidate, logits.values[row])
                scores[refused] = -np.inf
            place = sampling.pick(scores, p.temperature, p.top_k, p.top_p, draws.random())
            if place == sampling.NOTHING:
                return self._rules.end
            token = place if tokens is None else int(tokens[place])
            if token == self._rules.end or self._rules.allows(line, token):
                return token
            refused.append(token)
            scores[place] = -np.inf

    def _scores(self, candidate: int, values: sampling.Floats, tokens: sampling.Ints | None = None) -> sampling.Floats:
        """What `pick` takes: the logits of some tokens, or of all, by what has been written and must not come."""
        part = slice(None) if tokens is None else tokens
        scores = values[part].copy() if tokens is None else values[part]
        sampling.penalise(scores, self._written[candidate][part], self._parameters.repetition_penalty)
        scores[self._rules.forbidden(self._lines[candidate])[part]] = -np.inf
        return scores
