"""From one row of logits to a token. Pure functions; nothing here knows of text.

A row is float32 (vocabulary,); what must not come is -inf.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOTHING = -1
"""What `pick` gives when every token is -inf."""

_BLOCK = 32  # tokens whose maximum stands for them while the best are looked for
_FIRST_LOOK = 128  # how many of the best are looked at, before all are, when top_p is asked for without top_k
_BIN_SHIFT = 19  # leaves the exponent of a float32 and 4 bits of its fraction: weights in a bin differ by 6 % at most
_SHARPEST = 1e-3  # temperatures below are as good as 0, and overflow


def log_normalisers(logits: Floats) -> Doubles:
    """The log Σ exp of each row: (rows, vocabulary) → (rows,). A token's log-probability is its logit minus this.

    Raises:
        FloatingPointError: a row has NaN, or nothing finite: the model is broken.
    """
    best = logits.max(axis=1)
    if not np.isfinite(best).all():
        raise FloatingPointError("the decoder gave logits that are no numbers")
    total = np.exp(logits - best[:, None]).sum(axis=1, dtype=np.float64)
    normalisers: Doubles = best + np.log(total)
    return normalisers


def penalise(scores: Floats, tokens: Sequence[int], penalty: float) -> None:
    """Make tokens that were written already less likely, in place (Keskar et al. 2019, arXiv:1909.05858)."""
    if penalty == 1.0 or not tokens:
        return
    written = np.array(tokens)
    values = scores[written]
    scores[written] = np.where(values > 0, values / penalty, values * penalty)


def pick(scores: Floats, temperature: float, top_k: int, top_p: float, draw: float) -> int:
    """One token.

    Args:
        scores: (vocabulary,) logits, -inf for what must not come.
        temperature: 0 takes the best; the sharper, the lower.
        top_k: only the best `top_k` may come, 0 = all.
        top_p: of these only the smallest set that holds this share of their probability; the token that crosses the
            share still belongs to it (Holtzman et al. 2020, arXiv:1904.09751).
        draw: uniform in [0, 1): which of them comes.

    Returns:
        The token, or `NOTHING`.
    """
    best = int(scores.argmax())
    if scores[best] == -np.inf:
        return NOTHING
    if temperature == 0 or top_k == 1:
        return best
    if 0 < top_k < scores.size:
        order = top(scores, top_k)
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
