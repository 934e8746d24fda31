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
from ogiri.captioning.data.pictures import Pictures
from ogiri.captioning.data.records import Records
from ogiri.captioning.data.split import split
from ogiri.captioning.data.summary import DataSummary, summarise
from ogiri.captioning.model.conditioning import ConditionLimits
from ogiri.captioning.model.controls import NOT_GIVEN, ControlEdges, find_edges
from ogiri.captioning.model.token_lines import TokenLines
from ogiri.captioning.model.tokenizer import Tokenizer, train_tokenizer
from ogiri.captioning.training.examples import Examples
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.known import Labels, conditions, confidences, references
from ogiri.captioning.training.line_weights import line_weights
from ogiri.machine import return_freed_memory
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

    pictures: Pictures
    rows: npt.NDArray[np.int64]
    references: Sequence[list[str]]
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
    keys = usable.pictures.keys
    groups = _groups(arrays, keys)
    train, validation = _split(keys, groups, hp)
    lines, held_out = usable.select(train), usable.select(validation)
    if tokenizer is None:
        tokenizer = _fit_tokenizer(lines, hp)
        tokens = [tokenizer.encode_lines(side.lines) for side in (lines, held_out)]
        _check(tokenizer, tokens[0], lines.lines)
    else:
        tokens = [tokenizer.encode_lines(side.lines) for side in (lines, held_out)]
        _warn_of_gaps(tokenizer, tokens, (lines, held_out))
    limits = ConditionLimits()
    edges = find_edges(lines.scores.tolist(), [len(line) for line in lines.lines]) if hp.controls else ControlEdges()
    known = _Known(arrays, tokenizer, limits, edges, Labels(usable.pictures, tokenizer, limits), hp)
    parts = [
        _part(side, rows[np.asarray(chosen, np.int64)], side_tokens, known)
        for side, chosen, side_tokens in zip((lines, held_out), (train, validation), tokens, strict=True)
    ]
    cut = sum(int((side.lengths > hp.max_length).sum()) for side in tokens)
    log.info(
        "%d pictures and %d lines to train on, %d and %d held out; %d tokens in the vocabulary",
        *(number for part in parts for number in (len(part), len(part.examples))),
        tokenizer.vocabulary,
    )
    if cut:
        log.warning("%d lines of more than max_length=%d tokens were cut", cut, hp.max_length)
    side_groups = [[groups[index] for index in side] for side in (train, validation)]
    summary = summarise(records, dropped, arrays.broken, (lines, held_out), side_groups, cut)
    _tell(summary)
    return_freed_memory()
    return Dataset(parts[0], parts[1], tokenizer, limits, edges, cut, summary)


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
        assert {names[index] for index in validation}.isdisjoint(names[index] for index in train)  # noqa: S101
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
    counts = dict(zip(train.pictures.label_names, train.pictures.name_counts().tolist(), strict=True))
    extra = [name for name, count in sorted(counts.items()) for _ in range(min(count, LABEL_REPEATS))]
    characters = sum(len(line) for line in train.lines)
    vocabulary = hp.vocabulary or min(MAX_AUTOMATIC_VOCABULARY, characters // CHARACTERS_PER_TOKEN)
    return train_tokenizer(train.lines, vocabulary, extra)


def _check(tokenizer: Tokenizer, tokens: TokenLines, lines: Sequence[str]) -> None:
    if not tokenizer.writes(tokens, lines):
        changed = [line for line, own in zip(lines, tokens, strict=True) if tokenizer.decode(own) != line]
        raise RuntimeError(f"the tokenizer changes {len(changed)} lines, the first is {changed[0]!r}")


def _warn_of_gaps(tokenizer: Tokenizer, tokens: Sequence[TokenLines], sides: Sequence[Records]) -> None:
    gaps = []
    for own, side in zip(tokens, sides, strict=True):
        at = np.flatnonzero(own.tokens == tokenizer.unknown)
        found = np.unique(np.searchsorted(own.ends, at, "right") - 1)
        gaps += [(side.pictures.key(side.picture_of[line]), side.lines[line]) for line in found.tolist()]
    if gaps:
        log.warning(
            "%d of %d lines have characters that the language model has no token for, the first is %r: the model "
            "learns them with a gap, and writes no such character",
            len(gaps),
            sum(map(len, sides)),
            min(gaps)[1],
        )


@dataclass(frozen=True)
class _Known:
    """What both sides are made with."""

    arrays: PictureArrays
    tokenizer: Tokenizer
    limits: ConditionLimits
    edges: ControlEdges
    labels: Labels
    hp: CaptionHyperparameters


def _part(records: Records, rows: npt.NDArray[np.int64], tokens: TokenLines, known: _Known) -> Part:
    pictures, lengths = records.pictures, np.fromiter(map(len, records.lines), np.int64, len(records))
    of_pictures = references(records)
    examples = Examples(
        pictures=known.arrays.arrays,
        rows=rows,
        conditions=conditions(pictures, known.labels, known.tokenizer, known.limits),
        confidences=confidences(pictures, known.labels),
        lines=tokens.cut(known.hp.max_length),
        picture_of=records.picture_of.astype(np.int64),
        characters=lengths + 1,
        controls=control_levels(known.edges, records.scores, lengths),
        weights=line_weights(records, of_pictures, known.hp),
        variants=known.arrays.variants,
    )
    return Part(pictures, rows, of_pictures, examples)


def control_levels(
    edges: ControlEdges, scores: npt.NDArray[np.float32], characters: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """What `ControlEdges.levels` gives for each line: (lines, 2)."""
    levels = np.full((len(scores), 2), NOT_GIVEN, np.int64)
    if edges.score:
        known = ~np.isnan(scores)
        levels[known, 0] = 1 + np.searchsorted(edges.score, scores[known].astype(np.float64), "right")
    if edges.length:
        levels[:, 1] = 1 + np.searchsorted(edges.length, characters, "right")
    return levels
