"""From one row of logits to a token; nothing here knows of text.

A row is float32 (vocabulary,); what must not come is -inf. What is asked of every row is found for all rows of a step
at once (`Logits`): one by one, that would take as long as the decoder itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NOTHING = -1
"""What `pick` gives when every score is -inf."""

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
        begins = np.arange(rows + 1) * vocabulary
        bounds = places.searchsorted(begins).tolist()
        favourites = [places[bounds[row] : bounds[row + 1]] - begins[row] for row in range(rows)]
        return cls(values, normalisers, favourites, floors)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Sequence[int]) -> Logits:
        """Some rows; a single one, which most requests have, without copying it.

        Raises:
            FloatingPointError: as `log_normalisers`.
        """
        part = slice(rows[0], rows[0] + 1) if len(rows) == 1 else rows
        normalisers = self.normalisers[part]
        _check(normalisers)
        return Logits(self.values[part], normalisers, [self.favourites[row] for row in rows], self.floors[part])


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
        weights = logits - best[:, None]
        total = np.exp(weights, out=weights).sum(axis=1, dtype=np.float64)
        sums: Doubles = best + np.log(total)
    return sums


def _check(normalisers: Doubles) -> None:
    if not all(map(math.isfinite, normalisers.tolist())):
        raise FloatingPointError("the decoder gave logits that are no numbers")


def penalise(scores: Floats, written: Mask | Ints, penalty: float) -> None:
    """Make what was written already less likely, in place (Keskar et al. 2019, arXiv:1909.05858).

    Args:
        scores: of some tokens.
        written: which of them.
        penalty: at least 1, which changes nothing.
    """
    if penalty == 1.0:
        return
    values = scores[written]
    scores[written] = np.minimum(values / penalty, values * penalty)  # the first of what is above 0


def hold_the_best(scores: Floats, floor: float, temperature: float, top_k: int) -> bool:
    """Whether `pick` needs no other tokens than these: all that it may choose from are among them.

    Args:
        scores: of some tokens.
        floor: what the score of no other reaches.
        temperature: see `pick`.
        top_k: see `pick`.
    """
    wanted = 1 if temperature == 0 else top_k
    return wanted > 0 and int(np.count_nonzero(scores >= floor)) >= wanted


def pick(
    scores: Floats,
    temperature: float,
    top_k: int,
    top_p: float,
    draw: float,
) -> int:
    """One token.

    Args:
        scores: (tokens,) logits, -inf for what must not come.
        temperature: 0 takes the best; the sharper, the lower.
        top_k: only the best `top_k` may come, 0 = all.
        top_p: of these only the smallest set that holds this share of their probability; the token that crosses the
            share still belongs to it (Holtzman et al. 2020, arXiv:1904.09751).
        draw: uniform in [0, 1): which of them comes.

    Returns:
        Its place in `scores`, or `NOTHING`.
    """
    best = int(scores.argmax())
    if scores[best] == -np.inf:
        return NOTHING
    if temperature == 0 or top_k == 1:
        return best
    if 0 < top_k <= scores.size:
        order = top(scores, top_k)
        cumulative = _weights(scores[order], scores[best], temperature).cumsum(dtype=np.float64)
        return _draw(order, cumulative, top_p * float(cumulative[-1]), draw)
    weights = _weights(scores, scores[best], temperature)
    share = top_p * float(weights.sum(dtype=np.float64))
    if top_p == 1:  # any token may come, so their order does not matter
        return _draw(np.arange(scores.size), weights.cumsum(dtype=np.float64), share, draw)
    order = top(scores, _FIRST_LOOK)
    cumulative = weights[order].cumsum(dtype=np.float64)
    if cumulative[-1] < share:
        order = _nucleus(weights, share)
        cumulative = weights[order].cumsum(dtype=np.float64)
    return _draw(order, cumulative, share, draw)


def top(scores: Floats | Doubles, count: int) -> Ints:
    """The `count` best tokens, best first.

    The `count`-th best of the maxima of blocks is no better than the `count`-th best token, so tokens that reach it are
    all that need sorting: mostly hardly more than `count`. Sorting the row takes a hundred times as long. Of equal ones
    the first comes first, whoever else is looked at.
    """
    blocks = scores.size // _BLOCK
    if count < blocks:
        maxima = scores[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
        tokens = np.flatnonzero(scores >= np.partition(maxima, blocks - count)[blocks - count])
        return tokens[(-scores[tokens]).argsort(kind="stable")[:count]]
    return (-scores).argsort(kind="stable")[:count]


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
    kept = int(cumulative.searchsorted(share)) + 1
    kept = min(kept, int(cumulative.searchsorted(cumulative[-1])) + 1)  # none of weight 0
    index = int(cumulative[:kept].searchsorted(draw * cumulative[kept - 1], side="right"))
    return int(order[min(index, kept - 1)])
