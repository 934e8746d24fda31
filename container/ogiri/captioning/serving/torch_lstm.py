"""The LSTM decoder with many lines side by side in memory of a fixed shape; for `torch_slab`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ogiri.captioning.model.decoder import Prefix, State
from ogiri.captioning.model.lstm import MASKED, LSTMDecoder, LSTMDimensions


class RowLSTM(LSTMDecoder):
    """See `torch_slab.RowDecoder`. What the attention looks at begins with its empty slot."""

    grows = False

    def __init__(self, dims: LSTMDimensions) -> None:
        super().__init__(dims)
        self.eval()
        self.table, self.table_bias = self.embedding.weight.detach(), self.bias.detach()

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `RowDecoder.place`."""
        self.to(device, dtype)
        self.table, self.table_bias = self.embedding.weight.detach().float(), self.bias.detach().float()

    def make_rows(self, rows: int, slots: int, tokens: int) -> State:  # noqa: ARG002 - a line has no positions here
        """See `RowDecoder.make_rows`."""
        width, heads, layers = self.dims.width, self.dims.heads, self.dims.layers
        of_slots = (rows, heads, 1 + slots, width // heads)
        new = self.embedding.weight.new_zeros
        return {
            "keys": new(of_slots),
            "values": new(of_slots),
            "mask": new((rows, 1 + slots)),
            "context": new((rows, width)),
            "hidden": new((rows, 1 + layers, width)),
            "cell": new((rows, 1 + layers, width)),
        }

    def begin(self, state: State, row: int, prefix: Prefix, bos: int) -> tuple[Tensor, int]:
        """See `RowDecoder.begin`."""
        values, mask, context = self._memory(prefix)
        used = slice(1, 1 + values.shape[1])
        of_row = {name: part[row : row + 1] for name, part in state.items()}
        of_row["keys"][:, :, used] = self._heads(self.key(values))
        of_row["values"][:, :, used] = self._heads(values)
        of_row["mask"].fill_(MASKED)
        of_row["mask"][:, :1] = 0
        of_row["mask"][:, used] = mask
        of_row["context"].copy_(context)
        for name, start in zip(("hidden", "cell"), self._start(context), strict=True):
            of_row[name].copy_(start)
        return self._advance(torch.full((1, 1), bos, device=values.device), of_row), 0

    def advance_rows(self, state: State, taken: Tensor) -> Tensor:
        """See `RowDecoder.advance_rows`."""
        return self._advance(taken[0][:, None], state)

    def _advance(self, tokens: Tensor, state: State) -> Tensor:
        words, layers = self._embed(tokens) + state["context"][:, None], self.dims.layers
        hidden, cell = (state[name].transpose(0, 1) for name in ("hidden", "cell"))  # layers first
        top, first = self.words(words, (hidden[:layers].contiguous(), cell[:layers].contiguous()))
        query, mask = self._heads(self.query(top)), state["mask"][:, None, None]
        seen = functional.scaled_dot_product_attention(query, state["keys"], state["values"], attn_mask=mask)
        seen = seen.transpose(1, 2).flatten(2)
        last = (hidden[layers:].contiguous(), cell[layers:].contiguous())
        after, second = self.sights(torch.cat([top, seen], -1), last)
        hidden.copy_(torch.cat([first[0], second[0]]))
        cell.copy_(torch.cat([first[1], second[1]]))
        merged = torch.tanh(self.merge(torch.cat([top, after, seen], -1)))
        return functional.linear(merged[:, 0].float(), self.table, self.table_bias)
