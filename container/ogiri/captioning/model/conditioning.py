"""Labels and detected text as the arrays that both decoders take beside the picture's feature map.

Training and serving both come through here, so that a label means the same to both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ogiri.captioning.model.controls import CONTROLS, control_array
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.record import Label

UNKNOWN_CONFIDENCE = 0  # the bucket of a label that came without a confidence
PADDING = -1

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ConditionLimits:
    """How much of what is known beside the picture goes in.

    Attributes:
        max_labels: labels kept, the most confident first.
        max_label_pieces: tokens kept of one label's name.
        max_text_pieces: tokens kept of the detected text.
        confidence_edges: percentages between the confidence buckets 1, 2, …
    """

    max_labels: int = 10
    max_label_pieces: int = 8
    max_text_pieces: int = 16
    confidence_edges: tuple[float, ...] = (10.0, 25.0, 50.0, 70.0, 85.0, 95.0)

    @property
    def buckets(self) -> int:
        """How many confidence buckets there are, the unknown one included."""
        return len(self.confidence_edges) + 2


@dataclass(frozen=True)
class Conditions:
    """What is known of one picture (no batch dimension) or of several (batch first).

    Attributes:
        label_pieces: (labels, pieces) tokens of each label's name, padded with -1.
        label_confidence: (labels,) confidence buckets.
        text_pieces: (pieces,) tokens of the detected text, padded with -1.
        controls: (2,) levels of score and length that are asked for, 0 = any; see `controls`.
    """

    label_pieces: Ints
    label_confidence: Ints
    text_pieces: Ints
    controls: Ints = field(default_factory=control_array)


def encode_conditions(
    labels: Sequence[Label], detected_text: str, tokenizer: Tokenizer, limits: ConditionLimits
) -> Conditions:
    """The arrays of one picture; without labels or text they have length 0."""
    named = [(tokenizer.encode(label.name.strip())[: limits.max_label_pieces], label) for label in labels]
    named = [(pieces, label) for pieces, label in named if pieces][: limits.max_labels]
    width = max((len(pieces) for pieces, _ in named), default=0)
    label_pieces = np.full((len(named), width), PADDING, np.int64)
    for row, (pieces, _) in enumerate(named):
        label_pieces[row, : len(pieces)] = pieces
    confidence = [_bucket(label.confidence, limits.confidence_edges) for _, label in named]
    text = tokenizer.encode(detected_text.strip())[: limits.max_text_pieces]
    return Conditions(label_pieces, np.array(confidence, np.int64), np.array(text, np.int64))


def stack_conditions(conditions: Sequence[Conditions]) -> Conditions:
    """Several pictures, padded: (batch, labels, pieces), (batch, labels), (batch, pieces) and controls (batch, 2)."""
    batch = len(conditions)
    labels = max((c.label_pieces.shape[0] for c in conditions), default=0)
    width = max((c.label_pieces.shape[1] for c in conditions), default=0)
    pieces = max((c.text_pieces.shape[0] for c in conditions), default=0)
    stacked = Conditions(
        np.full((batch, labels, width), PADDING, np.int64),
        np.full((batch, labels), UNKNOWN_CONFIDENCE, np.int64),
        np.full((batch, pieces), PADDING, np.int64),
        np.zeros((batch, len(CONTROLS)), np.int64),
    )
    for row, c in enumerate(conditions):
        stacked.label_pieces[row, : c.label_pieces.shape[0], : c.label_pieces.shape[1]] = c.label_pieces
        stacked.label_confidence[row, : c.label_confidence.shape[0]] = c.label_confidence
        stacked.text_pieces[row, : c.text_pieces.shape[0]] = c.text_pieces
        stacked.controls[row] = c.controls
    return stacked


def _bucket(confidence: float | None, edges: Sequence[float]) -> int:
    return UNKNOWN_CONFIDENCE if confidence is None else 1 + bisect_right(edges, confidence)
