"""How likely finished lines are beside something else than they were written for."""

from __future__ import annotations

from collections.abc import Iterable

from ogiri.captioning.serving.sampling import Logits
from ogiri.captioning.serving.search import Move


class Rescoring:
    """Lines read to the decoder side by side, all beside the same prefix: teacher forcing. Draws nothing."""

    def __init__(self, lines: Iterable[tuple[int, ...]], end: int) -> None:
        """Args: lines: tokens without begin and end, equal ones are read once. end: the end token."""
        self._log_probabilities = dict.fromkeys(lines, 0.0)
        self._live, self._end, self._step = list(self._log_probabilities), end, 0

    @property
    def width(self) -> int:
        """See `search.Stepped.width`."""
        return len(self._live)

    def advance(self, logits: Logits) -> Move:
        """See `search.Stepped.advance`."""
        move, live = Move([], []), []
        for position, line in enumerate(self._live):
            row = min(position, len(logits) - 1)  # at first there is one row for all
            token = (*line, self._end)[self._step]
            self._log_probabilities[line] += float(logits.values[row, token] - logits.normalisers[row])
            if self._step < len(line):
                live.append(line)
                move.rows.append(row)
                move.tokens.append(token)
        self._live, self._step = live, self._step + 1
        return move

    def means(self) -> dict[tuple[int, ...], float]:
        """Tokens → mean log-probability a token, the end token included, once the reading is over."""
        return {line: total / (len(line) + 1) for line, total in self._log_probabilities.items()}
