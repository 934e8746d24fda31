"""What every peer does with a request: a plain loop over tokens for a batch of pictures, as one would write it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ogiri import picture
from ogiri.captioning.model.tokenizer import EOS, Tokenizer

TEMPERATURE, TOP_K, TOP_P, REPETITION_PENALTY = 0.9, 50, 0.92, 1.1  # the defaults of `serve`

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Model(Protocol):
    """A model that takes one step at a time."""

    size: int
    tokenizer: Tokenizer

    def prefill(self, pictures: npt.NDArray[np.uint8]) -> tuple[Floats, Any]:
        """(batch, size, size, 3) → (batch, vocabulary) logits of the first token, and the state."""

    def step(self, tokens: Ints, state: Any) -> tuple[Floats, Any]:
        """(batch,) tokens → logits of the next, and the state."""


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        rgb: (size, size, 3).
        tokens: of its line.
        temperature: 0 = greedy.
    """

    rgb: npt.NDArray[np.uint8]
    tokens: int
    temperature: float


def read(document: Mapping[str, Any], size: int) -> Ask:
    """The request in a JSON document as `serve` takes it: `image` in base64, and `parameters`."""
    parameters = document.get("parameters", {})
    rgb = picture.load(base64.b64decode(document["image"]), size)
    return Ask(rgb, int(parameters["min_length"]), float(parameters.get("temperature", TEMPERATURE)))


def write(model: Model, asks: Sequence[Ask], random: np.random.Generator) -> list[str]:
    """The line of each request. All of them take as many steps as the longest."""
    temperatures = np.array([ask.temperature for ask in asks], np.float32)
    logits, state = model.prefill(np.stack([ask.rgb for ask in asks]))
    written = np.empty((len(asks), 0), np.int64)
    for number in range(max(ask.tokens for ask in asks)):
        if number:
            logits, state = model.step(written[:, -1], state)
        written = np.concatenate([written, draw(logits, written, temperatures, random)[:, None]], 1)
    return [
        model.tokenizer.decode([int(token) for token in row[: ask.tokens]])
        for row, ask in zip(written, asks, strict=True)
    ]


def draw(logits: Floats, written: Ints, temperatures: Floats, random: np.random.Generator) -> Ints:
    """A token a row, sampled at `serve`'s defaults; (rows, vocabulary) → (rows,). No control token comes."""
    scores = logits.copy()
    scores[:, : EOS + 1] = -np.inf
    seen = np.take_along_axis(scores, written, 1)
    np.put_along_axis(scores, written, np.where(seen > 0, seen / REPETITION_PENALTY, seen * REPETITION_PENALTY), 1)
    best = scores.argmax(1)
    if not temperatures.any():
        return best
    rows = np.arange(len(scores))[:, None]
    order = np.argpartition(scores, -TOP_K, 1)[:, -TOP_K:]
    order = order[rows, np.argsort(-scores[rows, order], 1)]
    kept = scores[rows, order] / np.maximum(temperatures, 1e-3)[:, None]
    weights = np.exp(kept - kept[:, :1])
    cumulative = weights.cumsum(1)
    share = TOP_P * cumulative[:, -1:]
    weights[cumulative - weights >= share] = 0  # the token that crosses the share still belongs to it
    cumulative = weights.cumsum(1)
    drawn = random.random((len(scores), 1)) * cumulative[:, -1:]
    chosen = order[rows[:, 0], (cumulative <= drawn).sum(1)]
    return np.where(temperatures == 0, best, chosen)
