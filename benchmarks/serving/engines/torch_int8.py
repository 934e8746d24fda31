"""torch's dynamic int8 of the linear layers."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.serving.engines.gpt2 import GPT2
from benchmarks.serving.engines.language_model import config, weights
from benchmarks.serving.engines.turn import (
    REPETITION_PENALTY,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    Asked,
    prefix_tokens,
    take_turns,
)


class Int8:
    """See `turn.Writer`."""

    def __init__(self, asked: Asked) -> None:
        torch.set_num_threads(asked.threads)
        sizes = config(asked.shape)
        named = {name: torch.from_numpy(array) for name, array in weights(asked.base).items()}
        model = GPT2(named, sizes["n_head"], sizes["n_layer"]).eval()
        self.weight_bytes = sum(each.weight.numel() for each in model.modules() if isinstance(each, nn.Linear))
        self._prompt = torch.tensor([prefix_tokens(len(model.words))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it will move to another package
            self._model: Any = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)

    @torch.inference_mode()
    def write(self, sequences: int, tokens: int) -> int:
        """See `Writer.write`. The prompt is read once for all lines."""
        cache = self._model.cache(1)
        logits = self._read(self._prompt, cache, 0).expand(sequences, -1)
        cache = cache.repeat(1, 1, sequences, 1, 1, 1)
        written = torch.empty(sequences, 0, dtype=torch.int64)
        for number in range(tokens):
            if number:
                logits = self._read(written[:, -1:], cache, self._prompt.shape[1] + number - 1)
            written = torch.cat([written, _draw(logits, written)], 1)
        return written.shape[1]

    @torch.inference_mode()
    def first(self) -> int:
        """See `Writer.first`."""
        return int(self._read(self._prompt, self._model.cache(1), 0)[0].argmax())

    def _read(self, tokens: Tensor, cache: Tensor, before: int) -> Tensor:
        logits: Tensor = self._model(self._model.embed(tokens, before), cache, before)
        return logits


def _draw(logits: Tensor, written: Tensor) -> Tensor:
    scores = logits.clone()
    seen = scores.gather(1, written)
    scores.scatter_(1, written, torch.where(seen > 0, seen / REPETITION_PENALTY, seen * REPETITION_PENALTY))
    best, order = scores.topk(TOP_K)
    shares = (best / TEMPERATURE).softmax(1)
    shares[shares.cumsum(1) - shares >= TOP_P] = 0
    return order.gather(1, shares.multinomial(1))


if __name__ == "__main__":
    take_turns(Int8(Asked.read()))
