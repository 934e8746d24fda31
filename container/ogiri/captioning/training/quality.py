"""The gate that an export passes: float32 graphs equal torch, and 8-bit weights cost next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.decoder import Decoder, Prefix
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.serving.engine import Engine

PARITY_TOLERANCE = 1e-4
MAX_NATS_LOST = 0.01  # a token
MIN_GATE_LINES = 500
MAX_GATE_LINES = 2000

Maps = npt.NDArray[np.float32]


def encoder_difference(encoder: Encoder, engine: Engine, pictures: npt.NDArray[np.uint8]) -> float:
    """Largest difference of torch's and the graph's maps of (batch, size, size, 3), relative to the largest value."""
    encoder.eval()
    with torch.no_grad():
        expected = encoder(torch.from_numpy(pictures)).float().numpy()
    return float(np.abs(engine.encode(pictures) - expected).max() / max(1.0, np.abs(expected).max()))


def decoder_difference(
    decoder: Decoder,
    engine: Engine,
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
    return float(np.abs(_logits(engine, maps, conditions, tokens, bos) - expected).max())


def nats_per_token(
    engine: Engine,
    maps: npt.NDArray[np.generic],
    rows: npt.NDArray[np.int64],
    conditions: Sequence[Conditions],
    lines: Sequence[Sequence[int]],
    bos: int,
    eos: int,
    batch: int = 64,
) -> float:
    """Mean negative log-likelihood of lines, their end tokens included, by the graph that will be served.

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
    nats, count = 0.0, 0
    order = np.argsort([len(line) for line in lines], kind="stable")
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        some = [lines[i] for i in part]
        logits = _logits(
            engine, maps[rows[part]].astype(np.float32), [conditions[i] for i in part], _padded(some, bos), bos
        )
        shifted = logits - logits.max(-1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        for row, line in enumerate(some):
            targets = [*line, eos]
            nats -= float(log_probability[row, np.arange(len(targets)), targets].sum())
            count += len(targets)
    return nats / max(1, count)


def _logits(
    engine: Engine, maps: Maps, conditions: Sequence[Conditions], tokens: npt.NDArray[np.int64], bos: int
) -> npt.NDArray[np.float32]:
    """(batch, time, vocabulary) of tokens (batch, time), one step after the other."""
    logits, state = engine.prefill(maps, stack_conditions(conditions), bos)
    steps = [logits]
    for step in range(1, tokens.shape[1]):
        logits, state = engine.step(tokens[:, step], state)
        steps.append(logits)
    return np.stack(steps, 1)


def _padded(lines: Sequence[Sequence[int]], bos: int) -> npt.NDArray[np.int64]:
    tokens = np.full((len(lines), 1 + max(len(line) for line in lines)), bos, np.int64)
    for row, line in enumerate(lines):
        tokens[row, 1 : 1 + len(line)] = line
    return tokens
