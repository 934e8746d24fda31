"""Records and picture arrays → what the loop trains on, and what it is measured on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.records import Picture, Records
from ogiri.captioning.data.split import split
from ogiri.captioning.model.conditioning import ConditionLimits, Conditions, encode_conditions
from ogiri.captioning.model.controls import CONTROLS, ControlEdges, find_edges
from ogiri.captioning.model.tokenizer import Tokenizer, train_tokenizer
from ogiri.captioning.training.examples import Examples
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.task import UserError

CHARACTERS_PER_TOKEN, MAX_AUTOMATIC_VOCABULARY = 12, 8000
LABEL_REPEATS = 20  # how often a label's name counts at most when the tokenizer is trained

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """The pictures of one side of the split and their lines.

    Attributes:
        pictures: in the order of `rows`.
        rows: (pictures,) their rows in the picture arrays.
        references: the lines of each picture.
        examples: the same for the training loop.
    """

    pictures: list[Picture]
    rows: npt.NDArray[np.int64]
    references: list[list[str]]
    examples: Examples

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class Dataset:
    """Both sides of the split, and the tokenizer that was trained on the one side's lines.

    Attributes:
        cut_lines: lines longer than `max_length` tokens, which were cut.
    """

    train: Part
    validation: Part
    tokenizer: Tokenizer
    limits: ConditionLimits
    control_edges: ControlEdges
    cut_lines: int


def build_dataset(records: Records, arrays: PictureArrays, hp: CaptionHyperparameters) -> Dataset:
    """Split by picture, fit the tokenizer on the training side, and turn lines and labels into tokens.

    Raises:
        UserError: nothing is left to train on.
    """
    usable = records.select(arrays.usable)
    rows = np.asarray(arrays.usable, np.int64)
    keys = [picture.key for picture in usable.pictures]
    train, validation = split(keys, hp.seed, hp.validation_fraction)
    if not train:
        raise UserError(
            f"all {len(keys)} pictures were held out with validation_fraction {hp.validation_fraction}: "
            "lower it, or bring more pictures"
        )
    assert not set(train) & set(validation)  # noqa: S101 - a leak would make every figure worthless
    if hp.validation_fraction > 0 and not validation:
        log.warning("no picture of %d was held out: nothing will be validated, the last weights are kept", len(keys))
    lines = usable.select(train)
    tokenizer, limits = _fit_tokenizer(lines, hp), ConditionLimits()
    edges = find_edges(lines.scores.tolist(), [len(line) for line in lines.lines]) if hp.controls else ControlEdges()
    parts = [_part(usable, rows, side, arrays, tokenizer, limits, edges, hp) for side in (train, validation)]
    cut = sum(cut for _, cut in parts)
    log.info(
        "%d pictures and %d lines to train on, %d and %d held out; %d tokens in the vocabulary",
        *(number for part, _ in parts for number in (len(part), len(part.examples))),
        tokenizer.vocabulary,
    )
    if cut:
        log.warning("%d lines of more than max_length=%d tokens were cut", cut, hp.max_length)
    return Dataset(parts[0][0], parts[1][0], tokenizer, limits, edges, cut)


def _fit_tokenizer(train: Records, hp: CaptionHyperparameters) -> Tokenizer:
    names: dict[str, int] = {}
    for picture in train.pictures:
        for label in picture.labels:
            names[label.name] = names.get(label.name, 0) + 1
    extra = [name for name, count in sorted(names.items()) for _ in range(min(count, LABEL_REPEATS))]
    characters = sum(len(line) for line in train.lines)
    vocabulary = hp.vocabulary or min(MAX_AUTOMATIC_VOCABULARY, characters // CHARACTERS_PER_TOKEN)
    tokenizer = train_tokenizer(train.lines, vocabulary, extra)
    changed = [line for line in train.lines if tokenizer.decode(tokenizer.encode(line)) != line]
    if changed:
        raise RuntimeError(f"the tokenizer changes {len(changed)} lines, the first is {changed[0]!r}")
    return tokenizer


def _part(
    usable: Records,
    rows: npt.NDArray[np.int64],
    side: Sequence[int],
    arrays: PictureArrays,
    tokenizer: Tokenizer,
    limits: ConditionLimits,
    edges: ControlEdges,
    hp: CaptionHyperparameters,
) -> tuple[Part, int]:
    records = usable.select(side)
    side_rows = rows[np.asarray(sorted(side), np.int64)]
    tokens = [tokenizer.encode(line) for line in records.lines]
    references: list[list[str]] = [[] for _ in records.pictures]
    for picture, line in zip(records.picture_of, records.lines, strict=True):
        references[picture].append(line)
    scores = records.scores.tolist()
    examples = Examples(
        pictures=arrays.arrays,
        rows=side_rows,
        conditions=[_conditions(picture, tokenizer, limits) for picture in records.pictures],
        confidences=[_confidences(picture, limits) for picture in records.pictures],
        lines=[line[: hp.max_length] for line in tokens],
        picture_of=records.picture_of.astype(np.int64),
        characters=np.array([len(line) + 1 for line in records.lines], np.int64),
        controls=np.array([edges.levels(s, len(line)) for s, line in zip(scores, records.lines, strict=True)]).reshape(
            -1, len(CONTROLS)
        ),
        weights=score_weights(records.scores, hp.score_weight),
    )
    cut = sum(len(line) > hp.max_length for line in tokens)
    return Part(list(records.pictures), side_rows, references, examples), cut


def score_weights(scores: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    """How much each line counts: 1 ± `scale` by the rank of its score, 1 where the score is unknown.

    Ranks, not values: votes are spread over powers of ten.
    """
    weights = np.ones(len(scores), np.float32)
    known = np.flatnonzero(~np.isnan(scores))
    if len(known):
        _, level, counts = np.unique(scores[known], return_inverse=True, return_counts=True)
        below = np.cumsum(counts) - counts
        rank = (below + counts / 2) / len(known)
        weights[known] += scale * (2 * rank[level.reshape(-1)] - 1)
    return weights


def _conditions(picture: Picture, tokenizer: Tokenizer, limits: ConditionLimits) -> Conditions:
    return encode_conditions(picture.labels, picture.detected_text, tokenizer, limits)


def _confidences(picture: Picture, limits: ConditionLimits) -> npt.NDArray[np.float64]:
    known = [1.0 if label.confidence is None else label.confidence / 100 for label in picture.labels]
    return np.array(known[: limits.max_labels], np.float64)
