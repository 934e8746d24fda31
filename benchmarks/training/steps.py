"""Training steps of a decoder alone, over made-up lines as long as people's."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.serving.shapes import MAX_TOKENS, Shape, build_decoder
from ogiri.captioning.model.conditioning import ConditionLimits, Conditions
from ogiri.captioning.model.token_lines import TokenLines
from ogiri.captioning.model.tokenizer import BOS, EOS
from ogiri.captioning.training.epoch import smoothed_loss
from ogiri.captioning.training.examples import IGNORED, Batch, Examples, batch_order, collate, token_frequencies
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.optimizer import build_optimizer, build_schedule
from ogiri.captioning.training.precision import autocast
from ogiri.captioning.training.stage import Stage

LENGTH_LOG_MEAN, LENGTH_LOG_DEVIATION = 2.52, 0.61
"""A log-normal length: 15 tokens on the average, one line in twenty longer than 34, as people's lines are."""
CELLS, CHANNELS = 49, {"mobilenet_v2": 1280, "resnet50": 2048}  # of the encoders' maps at 224 pixels
PICTURES, LABELS, LABEL_PIECES = 64, 5, 2
SCHEDULED_STEPS = 1000
RANDOM, BUCKETED = "random order", "by length"
CPU = torch.device("cpu")

Ints = npt.NDArray[np.int64]


def made_up(shape: Shape, lines: int, seed: int = 0) -> Examples:
    """Lines of random tokens, each of a picture with labels."""
    rng = np.random.default_rng(seed)
    drawn = np.exp(rng.normal(LENGTH_LOG_MEAN, LENGTH_LOG_DEVIATION, lines))
    lengths = np.clip(np.rint(drawn), 1, MAX_TOKENS - 1).astype(np.int64)
    known = Conditions(
        rng.integers(EOS + 1, shape.vocabulary, (LABELS, LABEL_PIECES)),
        np.ones(LABELS, np.int64),
        np.zeros(0, np.int64),
    )
    return Examples(
        pictures=rng.standard_normal((PICTURES, CELLS, CHANNELS[shape.encoder])).astype(np.float16),
        rows=np.arange(PICTURES),
        conditions=[known] * PICTURES,
        confidences=[np.ones(LABELS)] * PICTURES,
        lines=TokenLines.of([rng.integers(EOS + 1, shape.vocabulary, length).tolist() for length in lengths]),
        picture_of=np.arange(lines) % PICTURES,
        characters=lengths + 1,
        controls=np.zeros((lines, 2), np.int64),
        weights=np.ones(lines, np.float32),
    )


def batches(examples: Examples, order: str, batch_size: int) -> list[Batch]:
    """Every line once, in `RANDOM` order or in that of training, `BUCKETED`."""
    rng = np.random.default_rng(0)
    if order == BUCKETED:
        chosen = batch_order(examples.lines.lengths, batch_size, rng)
    else:
        shuffled: Ints = rng.permutation(len(examples))
        chosen = [shuffled[i : i + batch_size] for i in range(0, len(shuffled), batch_size)]
    return [collate(examples, lines, BOS, EOS) for lines in chosen]


def tokens_to_learn(some: Sequence[Batch]) -> int:
    """Of all lines, their ends counted, without padding."""
    return sum(int((batch.targets != IGNORED).sum()) for batch in some)


def padding(some: Sequence[Batch]) -> float:
    """The share of all positions that no loss is taken of."""
    return 1 - tokens_to_learn(some) / sum(batch.targets.numel() for batch in some)


@dataclass(frozen=True)
class Turn:
    """Some steps: how long they took, and the loss of the last one."""

    seconds: float
    loss: float


class Learner:
    """A decoder of a shape that learns as in training: forward, backward, optimizer and average of the weights."""

    def __init__(self, shape: Shape, examples: Examples, compiled: bool = False) -> None:
        torch.manual_seed(0)
        decoder = build_decoder(shape, CHANNELS[shape.encoder], ConditionLimits())
        self.model = Model(decoder, None)
        self._hp = CaptionHyperparameters()
        optimizer = build_optimizer(self.model, self._hp, CPU, self._hp.learning_rate)
        schedule = build_schedule(optimizer, SCHEDULED_STEPS, self._hp.warmup_ratio)
        self._stage = Stage(self.model, optimizer, schedule, self._hp.average_decay, self._hp.clip_norm)
        self._frequencies = torch.from_numpy(token_frequencies(examples, shape.vocabulary, EOS))
        self.model.train(True)
        if compiled:
            decoder.compile(dynamic=True)

    def turn(self, some: Sequence[Batch], precision: str) -> Turn:
        """A step for each batch.

        Raises:
            FloatingPointError: it has not learned.
        """
        began, value = time.perf_counter(), math.nan
        for batch in some:
            with autocast(precision, CPU):
                places, targets, weights = batch.to_learn()
                logits = self.model.decoder(self.model.prefix(batch, CPU), batch.tokens, wanted=places)
                loss = smoothed_loss(logits, targets, weights, self._hp.label_smoothing, self._frequencies)
            self._stage.step(loss)
            value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} in {precision}: what was timed is no training")
        return Turn(time.perf_counter() - began, value)

    def operations(self, some: Sequence[Batch]) -> int:
        """Of the matrix products in a turn, a multiplication and an addition counted as two.

        oneDNN's LSTM and the fused attention are opaque to the counter, so the plain ones are counted instead: they
        multiply the same.
        """
        torch.backends.mkldnn.enabled = False
        try:
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                self.turn(some, "fp32")
        finally:
            torch.backends.mkldnn.enabled = True
        return int(counter.get_total_flops())
