"""Records and picture arrays → what the loop trains on, and what it is measured on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.duplicates import alike
from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.lines import Dropped
from ogiri.captioning.data.records import Picture, Records
from ogiri.captioning.data.split import split
from ogiri.captioning.data.summary import DataSummary, summarise
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
        summary: what the data is like, for the report.
    """

    train: Part
    validation: Part
    tokenizer: Tokenizer
    limits: ConditionLimits
    control_edges: ControlEdges
    cut_lines: int
    summary: DataSummary


def build_dataset(
    records: Records,
    arrays: PictureArrays,
    hp: CaptionHyperparameters,
    tokenizer: Tokenizer | None = None,
    dropped: Sequence[Dropped] = (),
) -> Dataset:
    """Split by picture, fit the tokenizer on the training side unless there is one, turn lines and labels into tokens.

    Args:
        records: without what should not be learned.
        arrays: of the pictures of `records`.
        hp: of the job.
        tokenizer: of a language model, where there is one.
        dropped: what was left out of the records, for the summary.

    Raises:
        UserError: nothing is left to train on.
    """
    usable = records.select(arrays.usable)
    rows = np.asarray(arrays.usable, np.int64)
    keys = [picture.key for picture in usable.pictures]
    groups = _groups(arrays, keys)
    train, validation = _split(keys, groups, hp)
    lines, held_out = usable.select(train), usable.select(validation)
    if tokenizer is None:
        tokenizer = _fit_tokenizer(lines, hp)
    else:
        _warn_of_gaps(tokenizer, usable.lines)
    limits = ConditionLimits()
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
    side_groups = [[groups[index] for index in side] for side in (train, validation)]
    summary = summarise(records, dropped, arrays.broken, (lines, held_out), side_groups, cut)
    _tell(summary)
    return Dataset(parts[0][0], parts[1][0], tokenizer, limits, edges, cut, summary)


def _groups(arrays: PictureArrays, keys: Sequence[str]) -> list[str]:
    """What each usable picture's group is called: after the first of its keys, so after itself where it is alone."""
    if arrays.hashes is None:
        return list(keys)
    return [keys[first] for first in alike(arrays.hashes[arrays.usable], keys).tolist()]


def _split(keys: Sequence[str], groups: Sequence[str], hp: CaptionHyperparameters) -> tuple[list[int], list[int]]:
    train, validation = split(groups, hp.seed, hp.validation_fraction)
    if not train:
        raise UserError(
            f"all {len(keys)} pictures were held out with validation_fraction {hp.validation_fraction}: "
            "lower it, or bring more pictures"
        )
    for names in (keys, groups):  # a leak would make every figure worthless
        assert not {names[index] for index in train} & {names[index] for index in validation}  # noqa: S101
    if hp.validation_fraction > 0 and not validation:
        log.warning("no picture of %d was held out: nothing will be validated, the last weights are kept", len(keys))
    return train, validation


def _tell(summary: DataSummary) -> None:
    near = summary.near_duplicates
    if near.groups:
        log.info(
            "%d pictures look like another one, in %d groups, the largest of %d, such as %s: each is on one side",
            *(near.pictures, near.groups, near.largest, ", ".join(near.examples[0])),
        )
    if summary.shared_lines:
        log.info(
            "%d of %d lines held out also stand word for word in the training lines, for other pictures",
            *(summary.shared_lines, summary.validation.lines),
        )


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


def _warn_of_gaps(tokenizer: Tokenizer, lines: Sequence[str]) -> None:
    gaps = [line for line in lines if tokenizer.unknown in tokenizer.encode(line)]
    if gaps:
        log.warning(
            "%d of %d lines have characters that the language model has no token for, the first is %r: the model "
            "learns them with a gap, and writes no such character",
            len(gaps),
            len(lines),
            gaps[0],
        )


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
        confidences=[_confidences(picture, tokenizer, limits) for picture in records.pictures],
        lines=[line[: hp.max_length] for line in tokens],
        picture_of=records.picture_of.astype(np.int64),
        characters=np.array([len(line) + 1 for line in records.lines], np.int64),
        controls=np.array([edges.levels(s, len(line)) for s, line in zip(scores, records.lines, strict=True)]).reshape(
            -1, len(CONTROLS)
        ),
        weights=score_weights(records.scores, hp.score_weight),
        variants=arrays.variants,
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


def _confidences(picture: Picture, tokenizer: Tokenizer, limits: ConditionLimits) -> npt.NDArray[np.float64]:
    kept = [label for label in picture.labels if tokenizer.encode(label.name.strip())]  # as encode_conditions does
    known = [1.0 if label.confidence is None else label.confidence / 100 for label in kept]
    return np.array(known[: limits.max_labels], np.float64)
