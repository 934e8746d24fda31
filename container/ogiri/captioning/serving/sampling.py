"""From one row of logits to a token; nothing here knows of text.

A row is float32 (vocabulary,); what must not come is -inf. What is asked of every row is found for all rows of a step
at once (`Logits`): one by one, that would take as long as the decoder itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOTHING = -1
"""What `pick` gives when every token is -inf."""

_BLOCK = 32  # tokens whose maximum stands for them while the best are looked for
_FIRST_LOOK = 128  # how many of the best are looked at, before all are, when top_p is asked for without top_k
_FAVOURITES = 96  # of a row, at least: enough for a top_k of 50 where some of them must not come
_BIN_SHIFT = 19  # leaves the exponent of a float32 and 4 bits of its fraction: weights in a bin differ by 6 % at most
_SHARPEST = 1e-3  # temperatures below are as good as 0, and overflow


@dataclass(frozen=True)
class Logits:
    """Rows of logits, and what every way of choosing asks of them.

    Attributes:
        values: (rows, vocabulary).
        normalisers: (rows,) see `log_normalisers`; NaN where the row is none.
        favourites: of each row, its best tokens in the order of their numbers.
        floors: (rows,) no token but the favourites has a logit as high as this.
    """

    values: Floats
    normalisers: Doubles
    favourites: Sequence[Ints]
    floors: Floats

    @classmethod
    def of(cls, values: Floats) -> Logits:
        """The logits of a step, (rows, vocabulary)."""
        rows, vocabulary = values.shape
        normalisers, blocks = _log_sums(values), vocabulary // _BLOCK
        floors = np.full(rows, -np.inf, np.float32)
        if blocks > _FAVOURITES:
            maxima = values[:, : blocks * _BLOCK].reshape(rows, _BLOCK, blocks).max(axis=1)
            place = blocks - _FAVOURITES
            floors = np.ascontiguousarray(np.partition(maxima, place, axis=1)[:, place])
        places = np.flatnonzero(values >= floors[:, None])
        bounds = np.searchsorted(places, np.arange(1, rows) * vocabulary)
        favourites = [part - row * vocabulary for row, part in enumerate(np.split(places, bounds))]
        return cls(values, normalisers, favourites, floors)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Sequence[int]) -> Logits:
        """Some rows, copied.

        Raises:
            FloatingPointError: as `log_normalisers`.
        """
        _check(self.normalisers[rows])
        return Logits(
            self.values[rows], self.normalisers[rows], [self.favourites[row] for row in rows], self.floors[rows]
        )


def log_normalisers(logits: Floats) -> Doubles:
    """The log Σ exp of each row: (rows, vocabulary) → (rows,). A token's log-probability is its logit minus this.

    Raises:
        FloatingPointError: a row has NaN, or nothing finite: the model is broken.
    """
    normalisers = _log_sums(logits)
    _check(normalisers)
    return normalisers


def _log_sums(logits: Floats) -> Doubles:
    with np.errstate(invalid="ignore"):
        best = logits.max(axis=1)
        total = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
        sums: Doubles = best + np.log(total)
    return sums


def _check(normalisers: Doubles) -> None:
    if not np.isfinite(normalisers).all():
        raise FloatingPointError("the decoder gave logits that are no numbers")


def penalise(scores: Floats, tokens: Sequence[int], penalty: float) -> None:
    """Make tokens that were written already less likely, in place (Keskar et al. 2019, arXiv:1909.05858)."""
    if penalty == 1.0 or not tokens:
        return
    written = np.array(tokens)
    values = scores[written]
    scores[written] = np.where(values > 0, values / penalty, values * penalty)


def pick(
    scores: Floats,
    temperature: float,
    top_k: int,
    top_p: float,
    draw: float,
    favourites: Ints | None = None,
    floor: float = np.inf,
) -> int:
    """One token.

    Args:
        scores: (vocabulary,) logits, -inf for what must not come.
        temperature: 0 takes the best; the sharper, the lower.
        top_k: only the best `top_k` may come, 0 = all.
        top_p: of these only the smallest set that holds this share of their probability; the token that crosses the
            share still belongs to it (Holtzman et al. 2020, arXiv:1904.09751).
        draw: uniform in [0, 1): which of them comes.
        favourites: some tokens, to look at first.
        floor: what no score of another token reaches.

    Returns:
        The token, or `NOTHING`.
    """
    best = int(scores.argmax())
    if scores[best] == -np.inf:
        return NOTHING
    if temperature == 0 or top_k == 1:
        return best
    if 0 < top_k < scores.size:
        order = _best_of(favourites, floor, scores, top_k) if favourites is not None else top(scores, top_k)
        cumulative = np.cumsum(_weights(scores[order], scores[best], temperature), dtype=np.float64)
        return _draw(order, cumulative, top_p * float(cumulative[-1]), draw)
    weights = _weights(scores, scores[best], temperature)
    share = top_p * float(weights.sum(dtype=np.float64))
    if top_p == 1:  # any token may come, so their order does not matter
        return _draw(np.arange(scores.size), np.cumsum(weights, dtype=np.float64), share, draw)
    order = top(scores, _FIRST_LOOK)
    cumulative = np.cumsum(weights[order], dtype=np.float64)
    if cumulative[-1] < share:
        order = _nucleus(weights, share)
        cumulative = np.cumsum(weights[order], dtype=np.float64)
    return _draw(order, cumulative, share, draw)


def top(scores: Floats | Doubles, count: int) -> Ints:
    """The `count` best tokens, best first.

    The `count`-th best of the maxima of blocks is no better than the `count`-th best token, so tokens that reach it are
    all that need sorting: mostly hardly more than `count`. Sorting the row takes a hundred times as long.
    """
    blocks = scores.size // _BLOCK
    if count < blocks:
        maxima = scores[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
        tokens = np.flatnonzero(scores >= np.partition(maxima, blocks - count)[blocks - count])
        return tokens[np.argsort(-scores[tokens])[:count]]
    return np.argsort(-scores)[:count]


def _best_of(favourites: Ints, floor: float, scores: Floats, count: int) -> Ints:
    """As `top`, found among the favourites where enough of them are still above all others."""
    above = scores[favourites]
    known = above >= floor
    if np.count_nonzero(known) < count:
        return top(scores, count)
    return favourites[known][np.argsort(-above[known])[:count]]


def _nucleus(weights: Floats, share: float) -> Ints:
    """The tokens of the largest weights, about as many as add up to `share`: only those at its edge are sorted.

    The bits of floats that are not negative are ordered as they are, so their first ones make the bins of a histogram.
    Of 8,000 tokens that takes 60 to 95 µs, sorting all of them 320.
    """
    bins = weights.view(np.int32) >> _BIN_SHIFT
    from_above = np.cumsum(np.bincount(bins, weights)[::-1])
    edge = len(from_above) - 1 - min(int(np.searchsorted(from_above, share)), len(from_above) - 1)
    last = np.flatnonzero(bins == edge)
    return np.concatenate([np.flatnonzero(bins > edge), last[np.argsort(-weights[last])]])


def _weights(scores: Floats, best: np.float32, temperature: float) -> Floats:
    weights: Floats = np.exp((scores - best) / np.float32(max(temperature, _SHARPEST)))
    return weights


def _draw(order: Ints, cumulative: Doubles, share: float, draw: float) -> int:
    """Draw from the first tokens of `order` that reach `share`; `cumulative` is the running sum of their weights."""
    kept = int(np.searchsorted(cumulative, share)) + 1
    kept = min(kept, int(np.searchsorted(cumulative, cumulative[-1])) + 1)  # none of weight 0
    index = int(np.searchsorted(cumulative[:kept], draw * cumulative[kept - 1], side="right"))
    return int(order[min(index, kept - 1)])
