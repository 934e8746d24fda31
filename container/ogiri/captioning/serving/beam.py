"""Deterministic beam search: the most likely lines, for metrics and for callers who want no chance."""

from __future__ import annotations

import numpy as np

from ogiri.captioning.serving import ranking, sampling
from ogiri.captioning.serving.line import Caption, Line, Rules
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.sampling import Doubles, Floats, Logits
from ogiri.captioning.serving.search import Move

LENGTH_EXPONENT = 0.8
"""A finished line ranks by log-probability / tokens ** this (Wu et al. 2016, arXiv:1609.08144, without its constant).
1 would rank by the mean a token, which is the score that callers see, but long lines win under it. One Flickr8k model
had BLEU-4 16.6 with 1, 18.2 with 0.7 and 17.1 with 0.4 (300 pictures, five beams); a better one 18.2 with 0.6, 18.7
with 0.7, 19.1 with 0.8 and 0.9 (1,000 pictures)."""

LOOKAHEAD_TOKENS = 0
"""How many certain tokens (log-probability 0) a live line is given credit for when it is asked whether it may still
beat the finished ones. Many make the search exact and slow, and under a mean it then finds lines that ramble on."""


class BeamSearch:
    """The `num_beams` best unfinished lines go on; the `num_beams` best finished ones with different texts are kept.

    The repetition penalty guides which lines go on; finished ones rank by the model's own distribution.
    """

    settled = ""  # the best line may change until the end

    def __init__(self, rules: Rules, parameters: Parameters, lookahead_tokens: int = LOOKAHEAD_TOKENS) -> None:
        self.unconditional: ranking.Unconditional = {}
        self._rules, self._parameters, self._lookahead = rules, parameters, lookahead_tokens
        self._width = parameters.num_beams
        self._lines = [Line()]
        self._guides = np.zeros(1)  # the sum by which unfinished lines are compared
        self._finished: dict[str, tuple[float, Caption]] = {}  # text → rank

    @property
    def width(self) -> int:
        """See `Search.width`."""
        return self._width

    def advance(self, logits: Logits) -> Move:
        """See `Search.advance`."""
        raw = logits.values - logits.normalisers[:, None].astype(np.float32)
        guide = self._guide(logits.values, raw)
        for row, line in enumerate(self._lines):
            forbidden = self._rules.forbidden(line)
            if not forbidden[self._rules.end]:
                self._finish(line, float(raw[row, self._rules.end]))
            guide[row, forbidden] = -np.inf
        guide[:, self._rules.end] = -np.inf
        before = self._lines
        move = self._branch(raw, self._guides[:, None] + guide)
        if not move.rows and not self._finished:  # only banned words are left to say: end where it is
            for row in sorted(range(len(before)), key=lambda row: not before[row].text)[:1]:
                self._finish(before[row], float(raw[row, self._rules.end]))
        return Move([], []) if self._over() else move

    def redraw(self) -> bool:
        """See `Search.redraw`; the lines of beams differ."""
        return False

    def pool(self) -> list[Caption]:
        """See `Search.pool`: the `num_beams` best; `likelihood` leaves it to the search which of them come back."""
        p = self._parameters
        found = sorted(self._finished.values(), key=lambda ranked: (-ranked[0], -ranked[1].score, ranked[1].tokens))
        kept = p.num_candidates if p.ranking == ranking.LIKELIHOOD else self._width
        return [caption for _, caption in found[:kept]]

    def captions(self) -> list[Caption]:
        """See `Search.captions`."""
        measure = ranking.measure(self._parameters.ranking, self.unconditional)
        return ranking.best(self.pool(), self._parameters.num_candidates, measure)

    def _guide(self, logits: Floats, raw: Floats) -> Floats:
        """Log-probabilities (rows, vocabulary) with the repetition penalty in them; a copy."""
        penalty = self._parameters.repetition_penalty
        if penalty == 1.0:
            return raw.copy()
        scores = logits.copy()
        for row, line in enumerate(self._lines):
            sampling.penalise(scores[row], np.array(line.tokens, np.int64), penalty)
        guide: Floats = scores - sampling.log_normalisers(scores)[:, None].astype(np.float32)
        return guide

    def _branch(self, raw: Floats, guides: Doubles) -> Move:
        """Replace the unfinished lines by the best that are one token longer."""
        flat, vocabulary = guides.ravel(), raw.shape[1]
        looked_at = 2 * self._width
        while True:
            lines: list[Line] = []
            move, kept = Move([], []), []
            ranked = sampling.top(flat, min(looked_at, flat.size))
            for place in ranked[flat[ranked] > -np.inf]:
                row, token = divmod(int(place), vocabulary)
                if len(lines) < self._width and self._rules.allows(self._lines[row], token):
                    lines.append(self._rules.extended(self._lines[row], token, float(raw[row, token])))
                    move.rows.append(row)
                    move.tokens.append(token)
                    kept.append(flat[place])
            if len(lines) == self._width or looked_at >= flat.size or flat[ranked[-1]] == -np.inf:
                self._lines, self._guides = lines, np.array(kept)
                return move
            looked_at *= 8  # banned words took too many of them

    def _finish(self, line: Line, end_log_probability: float) -> None:
        caption = self._rules.caption(line, end_log_probability)
        rank = _rank(line.log_probability + end_log_probability, len(line.tokens) + 1)
        if caption.text not in self._finished or rank > self._finished[caption.text][0]:
            self._finished[caption.text] = rank, caption

    def _over(self) -> bool:
        if not self._lines:
            return True
        if len(self._finished) < self._width:
            return False
        worst = sorted((rank for rank, _ in self._finished.values()), reverse=True)[self._width - 1]
        best = max(_rank(line.log_probability, len(line.tokens) + 1 + self._lookahead) for line in self._lines)
        return best <= worst


def _rank(log_probability: float, tokens: int) -> float:
    return log_probability / float(tokens**LENGTH_EXPONENT)
