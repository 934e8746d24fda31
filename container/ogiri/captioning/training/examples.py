"""Lines as token arrays beside what is known of their pictures, and the batches that training takes from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ogiri.captioning.data.sharded_array import Rows
from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.controls import NOT_GIVEN, control_array
from ogiri.captioning.model.decoder import Prefix
from ogiri.captioning.model.token_lines import TokenLines

BUCKET_BATCHES = 32  # lines of this many batches are sorted by length together, so that little of a batch is padding
UNSEEN_COUNT = 0.01
IGNORED = -100  # target that no loss is taken of

LABELS_DROPPED, TEXT_DROPPED, PICTURE_DROPPED = 0.10, 0.20, 0.05
EVERYTHING_DROPPED = 0.03  # so that the model knows how likely a line is of itself
CONTROL_DROPPED = 0.5  # each: most requests do not say


@dataclass(frozen=True)
class Examples:
    """Pictures and their lines.

    Attributes:
        pictures: (pictures, cells, channels) float16 feature maps, or (pictures, size, size, 3) uint8 pictures where
            the encoder is trained; on disk, of both sides of the split.
        rows: (pictures of this side,) their rows in `pictures`.
        variants: the same as `pictures`, of the pictures varied a little; training draws among all of them.
        conditions: labels and text of each picture.
        confidences: of each picture's labels, 0 to 1, unknown = 1: the probability with which training keeps a label.
        lines: tokens of each line, without begin and end.
        picture_of: (lines,) the picture of each line.
        characters: (lines,) characters of each line, its end counted as one.
        controls: (lines, 2) levels of score and length of each line, see `model.controls`.
        weights: (lines,) how much each line counts in the loss, 1 on the average.
    """

    pictures: Rows
    rows: npt.NDArray[np.int64]
    conditions: Sequence[Conditions]
    confidences: Sequence[npt.NDArray[np.float64]]
    lines: TokenLines
    picture_of: npt.NDArray[np.int64]
    characters: npt.NDArray[np.int64]
    controls: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    variants: Sequence[Rows] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def picture_batch(self, pictures: npt.NDArray[np.int64], rng: np.random.Generator | None = None) -> Tensor:
        """What is kept of some pictures of this side, or with `rng` of one of their variants: (batch, …)."""
        rows = self.rows[pictures]
        if rng is None or not self.variants:
            return torch.from_numpy(np.ascontiguousarray(self.pictures[rows]))
        arrays = (self.pictures, *self.variants)
        drawn = rng.integers(len(arrays), size=len(rows))
        batch = np.empty((len(rows), *self.pictures.shape[1:]), self.pictures.dtype)
        for number, array in enumerate(arrays):
            batch[drawn == number] = array[rows[drawn == number]]
        return torch.from_numpy(batch)


@dataclass(frozen=True)
class Batch:
    """Some lines.

    Attributes:
        pictures: (pictures, …) what `Examples.pictures` holds for the distinct pictures of this batch.
        row_picture: (batch,) which of them each line belongs to.
        prefix: labels and text, (batch, …); its map is empty until the encoder has run.
        tokens: (batch, time) begin token and line.
        targets: (batch, time) line and end token, `IGNORED` where padded.
        weights: (batch,) how much each line counts.
        lines: (batch,) indices into the examples.
    """

    pictures: Tensor
    row_picture: Tensor
    prefix: Prefix
    tokens: Tensor
    targets: Tensor
    weights: Tensor
    lines: npt.NDArray[np.int64]

    def to_learn(self) -> tuple[Tensor, Tensor, Tensor]:
        """The places of `targets` that are no padding, counted through line after line; what stands there; its weight.

        Each is (tokens,).
        """
        places = places_of(self.targets)
        return places, self.targets.flatten()[places], self.weights[places // self.targets.shape[1]]


def places_of(targets: Tensor) -> Tensor:
    """The places of (batch, time) that are not `IGNORED`, counted through line after line: (tokens,) int64."""
    return (targets.flatten() != IGNORED).nonzero()[:, 0]


def token_frequencies(examples: Examples, vocabulary: int, eos: int) -> npt.NDArray[np.float32]:
    """How often each token is to be written, (vocabulary,), adding up to 1; a little for those that never are."""
    counts = UNSEEN_COUNT + np.bincount(examples.lines.tokens, minlength=vocabulary)
    counts[eos] += len(examples)
    frequencies: npt.NDArray[np.float32] = (counts / counts.sum()).astype(np.float32)
    return frequencies


def batch_order(
    lengths: npt.NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Shuffled batches of lines of similar length."""
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), BUCKET_BATCHES * batch_size):
        chunk = order[start : start + BUCKET_BATCHES * batch_size]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def picture_order(
    picture_of: npt.NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Shuffled batches in which the lines of a picture stand together, so that a trained encoder sees it once."""
    rank = rng.permutation(int(picture_of.max()) + 1)[picture_of]
    order = np.lexsort((rng.random(len(rank)), rank))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def sequential(count: int, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Indices 0 … count in batches, in order."""
    for start in range(0, count, batch_size):
        yield np.arange(start, min(start + batch_size, count))


def collate(
    examples: Examples,
    lines: npt.NDArray[np.int64],
    bos: int,
    eos: int,
    rng: np.random.Generator | None = None,
    condition_dropout: float = 0.0,
) -> Batch:
    """The batch of some lines; with `rng`, what is known of a picture is dropped at random, for training."""
    picture_of = examples.picture_of[lines]
    distinct, row_picture = np.unique(picture_of, return_inverse=True)
    known = np.ones(len(lines), bool)
    if rng is None:
        conditions = [examples.conditions[p] for p in picture_of.tolist()]
    else:
        blind = rng.random(len(lines)) < EVERYTHING_DROPPED * condition_dropout
        known = ~blind & (rng.random(len(lines)) >= PICTURE_DROPPED * condition_dropout)
        conditions = [
            _NOTHING
            if blind[row]
            else _with_controls(
                drop_conditions(examples.conditions[p], examples.confidences[p], rng, condition_dropout),
                drop_controls(examples.controls[line], rng),
            )
            for row, (line, p) in enumerate(zip(lines.tolist(), picture_of.tolist(), strict=True))
        ]
    starts = examples.lines.ends[lines]
    lengths = examples.lines.ends[lines + 1] - starts
    time = int(lengths.max()) + 1
    filled = np.arange(time - 1) < lengths[:, None]
    sequences = examples.lines.tokens[(starts[:, None] + np.arange(time - 1))[filled]]
    tokens = np.full((len(lines), time), eos, np.int64)
    targets = np.full((len(lines), time), IGNORED, np.int64)
    tokens[:, 0] = bos
    tokens[:, 1:][filled] = sequences
    targets[:, :-1][filled] = sequences
    targets[np.arange(len(lines)), lengths] = eos
    return Batch(
        pictures=examples.picture_batch(distinct, rng),
        row_picture=torch.from_numpy(row_picture.reshape(-1)),
        prefix=as_prefix(conditions, torch.from_numpy(known)),
        tokens=torch.from_numpy(tokens),
        targets=torch.from_numpy(targets),
        weights=torch.from_numpy(examples.weights[lines]),
        lines=lines,
    )


def batch_without_lines(
    examples: Examples,
    pictures: npt.NDArray[np.int64],
    rng: np.random.Generator | None = None,
    condition_dropout: float = 0.0,
) -> Batch:
    """Each picture with all that is known of it and no line yet; with `rng` one of its variants with some of that."""
    conditions = [examples.conditions[picture] for picture in pictures.tolist()]
    if rng is not None:
        confidences = [examples.confidences[picture] for picture in pictures.tolist()]
        both = zip(conditions, confidences, strict=True)
        conditions = [drop_conditions(known, confidence, rng, condition_dropout) for known, confidence in both]
    nothing = torch.zeros(0)
    return Batch(
        pictures=examples.picture_batch(pictures, rng),
        row_picture=torch.arange(len(pictures)),
        prefix=as_prefix(conditions),
        tokens=nothing,
        targets=nothing,
        weights=nothing,
        lines=pictures,
    )


def as_prefix(conditions: Sequence[Conditions], picture_known: Tensor | None = None) -> Prefix:
    """The prefix of a batch, its map still empty."""
    stacked = stack_conditions(conditions)
    return Prefix(
        map=torch.zeros(len(conditions), 0, 0),
        label_pieces=torch.from_numpy(stacked.label_pieces),
        label_confidence=torch.from_numpy(stacked.label_confidence),
        text_pieces=torch.from_numpy(stacked.text_pieces),
        controls=torch.from_numpy(stacked.controls),
        picture_known=picture_known,
    )


def drop_conditions(
    conditions: Conditions, confidences: npt.NDArray[np.float64], rng: np.random.Generator, scale: float
) -> Conditions:
    """Labels kept with the probability of their confidence; all labels or the text dropped now and then."""
    if scale == 0:
        return conditions
    kept = rng.random(len(confidences)) < 1 - scale * (1 - np.clip(confidences, 0.0, 1.0))
    if rng.random() < LABELS_DROPPED * scale:
        kept[:] = False
    text = conditions.text_pieces[: 0 if rng.random() < TEXT_DROPPED * scale else None]
    return Conditions(conditions.label_pieces[kept], conditions.label_confidence[kept], text)


def _with_controls(conditions: Conditions, controls: npt.NDArray[np.int64]) -> Conditions:
    return Conditions(conditions.label_pieces, conditions.label_confidence, conditions.text_pieces, controls)


def drop_controls(controls: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Each control forgotten half of the time: (2,) → (2,)."""
    return np.where(rng.random(len(controls)) < CONTROL_DROPPED, NOT_GIVEN, controls)


_NOTHING = Conditions(np.zeros((0, 0), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), control_array())
