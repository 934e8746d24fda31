"""The gate that an export passes: float32 graphs equal torch, and 8-bit weights cost next to nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.decoder import Decoder, Prefix
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.serving.interface import CaptionEngine

PARITY_TOLERANCE = 1e-4
MAX_ROUNDINGS = 10.0  # of float32 itself, where these are more than the tolerance
MAX_NATS_LOST = 0.01  # a token
MIN_GATE_LINES = 500
MAX_GATE_LINES = 2000
NO_TARGET = -1  # behind the end of a line

Maps = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def encoder_difference(encoder: Encoder, engine: CaptionEngine, pictures: npt.NDArray[np.uint8]) -> float:
    """Largest difference of torch's and the graph's maps of (batch, size, size, 3), relative to the largest value."""
    encoder.eval()
    with torch.no_grad():
        expected = encoder(torch.from_numpy(pictures)).float().numpy()
    return float(np.abs(engine.encode(pictures) - expected).max() / max(1.0, np.abs(expected).max()))


def encoder_rounding(encoder: Encoder, pictures: npt.NDArray[np.uint8]) -> float:
    """Largest difference of float32's maps from float64's in torch itself, relative to the largest value.

    Batch norm of channels that hardly vary magnifies the last bits, in an encoder that was trained for a short time.
    """
    exact = copy.deepcopy(encoder).double().eval()
    with torch.no_grad():
        found, expected = (each(torch.from_numpy(pictures)).numpy() for each in (encoder.eval(), exact))
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


def decoder_difference(
    decoder: Decoder,
    engine: CaptionEngine,
    maps: Maps,
    conditions: Sequence[Conditions],
    lines: Sequence[Sequence[int]],
    bos: int,
) -> float:
    """Largest difference between the logits of torch's parallel form and of the graph, taken step by step.

    Args:
        decoder: in float32 on the CPU.
        engine: with the exported graph.
        maps: (lines, cells, channels).
        conditions: of each line's picture.
        lines: tokens.
        bos: the begin token.
    """
    decoder.eval()
    stacked = stack_conditions(conditions)
    tokens = _padded(lines, bos)
    with torch.no_grad():
        prefix = Prefix(
            torch.from_numpy(maps),
            torch.from_numpy(stacked.label_pieces),
            torch.from_numpy(stacked.label_confidence),
            torch.from_numpy(stacked.text_pieces),
            torch.from_numpy(stacked.controls),
        )
        expected = decoder(prefix, torch.from_numpy(tokens)).numpy()
    found = np.stack(list(_steps(engine, maps, conditions, tokens, bos)), 1)
    return float(np.abs(found - expected).max())


def nats_per_token(
    engine: CaptionEngine,
    maps: npt.NDArray[np.generic],
    rows: npt.NDArray[np.int64],
    conditions: Sequence[Conditions],
    lines: Sequence[Sequence[int]],
    bos: int,
    eos: int,
    batch: int = 64,
) -> float:
    """Mean negative log-likelihood of lines, their end tokens included; the arguments are those of `line_nats`."""
    nats = line_nats(engine, maps, rows, conditions, lines, bos, eos, batch)
    return float(nats.sum()) / max(1, sum(len(line) + 1 for line in lines))


def line_nats(
    engine: CaptionEngine,
    maps: npt.NDArray[np.generic],
    rows: Ints,
    conditions: Sequence[Conditions],
    lines: Sequence[Sequence[int]],
    bos: int,
    eos: int,
    batch: int = 64,
) -> npt.NDArray[np.float64]:
    """Negative log-likelihood of each line, its end token included, by the graph that will be served: (lines,).

    Args:
        engine: the graph.
        maps: (pictures, cells, channels).
        rows: (lines,) the row in `maps` of each line's picture.
        conditions: of each line's picture.
        lines: tokens.
        bos: the begin token.
        eos: the end token.
        batch: lines stepped together.
    """
    nats = np.zeros(len(lines))
    for which, maps_of, conditions_of in _batches(maps, rows, conditions, lines, batch):
        some = [lines[i] for i in which]
        targets = _targets(some, eos)
        for step, logits in enumerate(_steps(engine, maps_of, conditions_of, _padded(some, bos), bos)):
            nats[which] += _nats(logits, targets[:, step])
    return nats


@dataclass(frozen=True)
class Comparison:
    """Two graphs over the same lines, the words that people wrote given to both.

    Attributes:
        float32, quantized: nats a token, end tokens included.
        top1_agreement: share of the tokens, end tokens included, for which both have the same favourite.
    """

    float32: float
    quantized: float
    top1_agreement: float


def compare(
    exact: CaptionEngine,
    rounded: CaptionEngine,
    maps: npt.NDArray[np.generic],
    rows: Ints,
    conditions: Sequence[Conditions],
    lines: Sequence[Sequence[int]],
    bos: int,
    eos: int,
    batch: int = 64,
) -> Comparison:
    """What 8-bit weights change; the arguments are those of `nats_per_token`, for two graphs."""
    exact_nats, rounded_nats, same, count = 0.0, 0.0, 0, 0
    for which, maps_of, conditions_of in _batches(maps, rows, conditions, lines, batch):
        some = [lines[i] for i in which]
        tokens, targets = _padded(some, bos), _targets(some, eos)
        both = (_steps(engine, maps_of, conditions_of, tokens, bos) for engine in (exact, rounded))
        for step, (one, other) in enumerate(zip(*both, strict=True)):
            exact_nats += float(_nats(one, targets[:, step]).sum())
            rounded_nats += float(_nats(other, targets[:, step]).sum())
            known = targets[:, step] != NO_TARGET
            same += int((one.argmax(-1) == other.argmax(-1))[known].sum())
            count += int(known.sum())
    tokens_in_all = max(1, count)
    return Comparison(exact_nats / tokens_in_all, rounded_nats / tokens_in_all, same / tokens_in_all)


def _batches(
    maps: npt.NDArray[np.generic],
    rows: Ints,
    conditions: Sequence[Conditions],
    lines: Sequence[Sequence[int]],
    batch: int,
) -> Iterator[tuple[Ints, Maps, list[Conditions]]]:
    """Indices of lines of similar length, and what belongs to them."""
    order = np.argsort([len(line) for line in lines], kind="stable")
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        yield part, maps[rows[part]].astype(np.float32), [conditions[i] for i in part]


def _nats(logits: npt.NDArray[np.float32], targets: Ints) -> npt.NDArray[np.float64]:
    """Negative log-likelihood of the targets: (rows,), 0 for rows without one."""
    known = np.flatnonzero(targets != NO_TARGET)
    of_known = logits[known]
    shifted = of_known - of_known.max(-1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(-1))
    nats = np.zeros(len(targets))
    nats[known] = log_sums - shifted[np.arange(len(known)), targets[known]]
    return nats


def _steps(
    engine: CaptionEngine, maps: Maps, conditions: Sequence[Conditions], tokens: Ints, bos: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Logits (batch, vocabulary) after each of the tokens (batch, time)."""
    logits, state = engine.prefill(maps, stack_conditions(conditions), bos)
    yield logits
    for step in range(1, tokens.shape[1]):
        logits, state = engine.step(tokens[:, step], state)
        yield logits


def _targets(lines: Sequence[Sequence[int]], eos: int) -> Ints:
    """(lines, time) each line and its end, then `NO_TARGET`."""
    targets = np.full((len(lines), 1 + max(len(line) for line in lines)), NO_TARGET, np.int64)
    for row, line in enumerate(lines):
        targets[row, : len(line) + 1] = [*line, eos]
    return targets


def _padded(lines: Sequence[Sequence[int]], bos: int) -> Ints:
    """(lines, time) the begin token and each line."""
    tokens = np.full((len(lines), 1 + max(len(line) for line in lines)), bos, np.int64)
    for row, line in enumerate(lines):
        tokens[row, 1 : 1 + len(line)] = line
    return tokens
