"""How much each line counts in the loss: by what people thought of it, and by how far others said the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.records import Records
from ogiri.captioning.training.cider import CiderD
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.metrics import Tokens, segment

Floats = npt.NDArray[np.float32]


def line_weights(records: Records, references: Sequence[list[str]], hp: CaptionHyperparameters) -> Floats:
    """The weight of each line, 1 on the average: (lines,).

    Args:
        records: of one side of the split.
        references: the lines of each picture.
        hp: its `score_weight` and `consensus_weight` say how much the two count.
    """
    weights = rank_weights(records.scores, hp.score_weight)
    if hp.consensus_weight:
        weights *= rank_weights(consensus(references, hp.counted), hp.consensus_weight)
        weights /= weights.mean() if len(weights) else 1.0
    return weights


def consensus(references: Sequence[list[str]], kind: Tokens) -> Floats:
    """CIDEr-D of each line against the other lines of its picture, NaN where it is the only one: (lines,).

    Lines are weighted by it in Phan et al. 2017, arXiv:1712.09532.

    Args:
        references: the lines of each picture, in order.
        kind: what is counted.
    """
    cider = CiderD([[segment(line, kind) for line in lines] for lines in references])
    found = [cider.agreement(picture) if len(lines) > 1 else [np.nan] for picture, lines in enumerate(references)]
    return np.array([value for values in found for value in values], np.float32)


def rank_weights(values: Floats, scale: float) -> Floats:
    """1 ± `scale` by the rank of each value, 1 where it is unknown (NaN): (lines,).

    Ranks, not values: votes are spread over powers of ten.
    """
    weights = np.ones(len(values), np.float32)
    known = np.flatnonzero(~np.isnan(values))
    if len(known):
        _, level, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        below = np.cumsum(counts) - counts
        rank = (below + counts / 2) / len(known)
        weights[known] += scale * (2 * rank[level.reshape(-1)] - 1)
    return weights
