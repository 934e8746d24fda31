"""The GPT-2 decoder with many lines side by side in caches of a fixed shape; for `torch_slab`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ogiri.captioning.model.decoder import Prefix, State
from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions

ROUND_POSITIONS = 8  # what the kernels of attention ask of the last axis of a mask


class RowGPT2(GPT2Decoder):
    """See `torch_slab.RowDecoder`. A row's cache holds what is known of its prefix and its line, without padding."""

    grows = True

    def __init__(self, dims: GPT2Dimensions) -> None:
        super().__init__(dims)
        self.eval()
        self.table = self.transformer.wte.weight.detach()

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `RowDecoder.place`."""
        self.to(device, dtype)
        self.table = self.transformer.wte.weight.detach().float()

    def make_rows(self, rows: int, slots: int, tokens: int) -> State:
        """See `RowDecoder.make_rows`."""
        positions = -(-(slots + tokens) // ROUND_POSITIONS) * ROUND_POSITIONS
        shape = (rows, self.dims.layers, 2, self.dims.heads, positions, self.dims.width // self.dims.heads)
        return {"caches": self.kind.new_zeros(shape)}

    def begin(self, state: State, row: int, prefix: Prefix, bos: int) -> tuple[Tensor, int]:
        """See `RowDecoder.begin`."""
        slots, hidden = self._slots(prefix)
        tokens = torch.full((1, 1), bos, device=slots.device)
        x = torch.cat([slots[:, hidden[0] == 0], self._words(tokens, tokens.new_zeros(1))], 1)
        count = x.shape[1]
        for layer, block in enumerate(self.transformer.h):
            query, keys, values = self._heads(block, x)
            of_layer = state["caches"][row, layer, :, :, :count]
            of_layer[0], of_layer[1] = keys[0], values[0]
            seen = functional.scaled_dot_product_attention(query, keys, values, is_causal=True)
            x = self._finish(block, x, seen.transpose(1, 2).flatten(2))
        return self._exact_logits(x), count

    def advance_rows(self, state: State, taken: Tensor) -> Tensor:
        """See `RowDecoder.advance_rows`."""
        tokens, places, past = taken
        caches = state["caches"]
        x = self._words(tokens[:, None], places)
        later = torch.arange(caches.shape[4], device=x.device) > past[:, None]
        mask = torch.zeros(later.shape, dtype=x.dtype, device=x.device).masked_fill(later, float("-inf"))
        mask = mask[:, None, None]
        for layer, block in enumerate(self.transformer.h):
            query, *new = self._heads(block, x)
            keys, values = caches[:, layer].unbind(1)
            index = past[:, None, None, None].expand_as(query)
            keys.scatter_(2, index, new[0])
            values.scatter_(2, index, new[1])
            seen = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            x = self._finish(block, x, seen.transpose(1, 2).flatten(2))
        return self._exact_logits(x)

    def _exact_logits(self, x: Tensor) -> Tensor:
        """(rows, vocabulary) in float32, of the last slot."""
        return functional.linear(self.transformer.ln_f(x[:, -1]).float(), self.table)
