"""The same model in torch, float32, from safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.serving.peers.lines import Floats, Ints
from benchmarks.serving.shapes import HEAD_WIDTH, Shape, build_decoder
from ogiri.captioning.model.conditioning import ConditionLimits
from ogiri.captioning.model.decoder import Prefix
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.tokenizer import Tokenizer

CONTROLS = 2


class Stepped(Protocol):
    """A decoder that takes one step at a time."""

    def begin(self, maps: Tensor, bos: int) -> tuple[Tensor, Any]:
        """(batch, cells, channels) → (batch, vocabulary) logits of the first token, and the state."""

    def go_on(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(batch, 1) tokens → logits of the next, and the state."""


class Weights:
    """See `lines.Model`."""

    def __init__(self, base: Path, shape: Shape) -> None:
        self.size = shape.size
        self.tokenizer = Tokenizer((base / "model/tokenizer.model").read_bytes())
        self._encoder = Encoder(shape.encoder, shape.size).eval()
        self._encoder.load_state_dict(load_file(base / "weights/encoder.safetensors"))
        decoder = build_decoder(shape, self._encoder.channels, ConditionLimits()).eval()
        decoder.load_state_dict(load_file(base / "weights/decoder.safetensors"))
        self._decoder: Stepped = Recurrent(decoder) if shape.decoder == "lstm" else Cached(decoder, shape)

    @torch.inference_mode()
    def prefill(self, pictures: npt.NDArray[np.uint8]) -> tuple[Floats, Any]:
        """See `Model.prefill`."""
        logits, state = self._decoder.begin(self._encoder(torch.from_numpy(pictures)), self.tokenizer.bos)
        return logits.numpy(), state

    @torch.inference_mode()
    def step(self, tokens: Ints, state: Any) -> tuple[Floats, Any]:
        """See `Model.step`."""
        logits, state = self._decoder.go_on(torch.from_numpy(tokens)[:, None], state)
        return logits.numpy(), state


class Recurrent:
    """The LSTM, by `Decoder.advance`."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def begin(self, maps: Tensor, bos: int) -> tuple[Tensor, Any]:
        """See `Stepped.begin`."""
        tokens, state = torch.full((len(maps), 1), bos), self._decoder.initial_state(len(maps))
        return self._advance(tokens, maps, CONTROLS, state)

    def go_on(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `Stepped.go_on`."""
        return self._advance(tokens, torch.zeros(len(tokens), 0, self._decoder.dims.channels), 0, state)

    def _advance(self, tokens: Tensor, maps: Tensor, controls: int, state: Any) -> tuple[Tensor, Any]:
        def nothing(*shape: int) -> Tensor:
            return torch.zeros(len(tokens), *shape, dtype=torch.int64)

        prefix = Prefix(maps, nothing(0, 0), nothing(0), nothing(0), nothing(controls))
        logits, after = self._decoder.advance(tokens, prefix, state)
        return logits[:, -1], after


class Cached:
    """GPT-2 with fused attention and a cache that is written in place; the state is (cache, slots, tokens)."""

    def __init__(self, decoder: Any, shape: Shape) -> None:
        from benchmarks.serving.engines.gpt2 import GPT2

        self._decoder = decoder
        named = dict(decoder.transformer.state_dict())
        self._model = GPT2(named, shape.width // HEAD_WIDTH, shape.layers).eval()
        decoder.transformer = nn.Identity()  # its matrices were copied, the other way round

    def begin(self, maps: Tensor, bos: int) -> tuple[Tensor, Any]:
        """See `Stepped.begin`."""
        decoder, batch = self._decoder, len(maps)
        cells = decoder.cell_norm(decoder.cell_in(maps)) + decoder.kind[0]
        controls = decoder.control(decoder.control_start[:CONTROLS]).expand(batch, -1, -1)
        slots = torch.cat([cells, controls, self._model.embed(torch.full((batch, 1), bos), 0)], 1)
        cache = self._model.cache(batch)
        return self._model(slots, cache, 0), (cache, slots.shape[1], 1)

    def go_on(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `Stepped.go_on`."""
        cache, before, number = state
        return self._model(self._model.embed(tokens, number), cache, before), (cache, before + 1, number + 1)
