"""LSTM with attention over the feature map, the labels and the detected text.

The attention is parallel over time: the LSTM runs over the words first, and each step's *current* hidden state then
queries the memory (Lu et al. 2017, arXiv:1612.01887). So training has no Python loop over steps, while serving still
takes one step at a time with the same weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogiri.captioning.model.controls import LEVELS, control_starts
from ogiri.captioning.model.decoder import Decoder, Prefix, State, StateSpec

MASKED = -1e4  # score of a slot that is padding; finite, so that a row without any slot stays a number


@dataclass(frozen=True)
class LSTMDimensions:
    """The sizes of an LSTM decoder.

    Attributes:
        vocabulary: tokens.
        channels: width of the encoder's map.
        buckets: confidence buckets.
        max_label_pieces, max_text_pieces: positions that labels and text can have.
        width: of embeddings, memory and hidden state.
        heads: of the attention.
        layers: of the LSTM.
        embedding_dropout: of the words, and of what is merged before the output.
        output_dropout: before the output.
    """

    vocabulary: int
    channels: int
    buckets: int
    max_label_pieces: int = 8
    max_text_pieces: int = 16
    width: int = 512
    heads: int = 8
    layers: int = 1
    embedding_dropout: float = 0.3
    output_dropout: float = 0.5


class LSTMDecoder(Decoder):
    """See the module's text. Input and output embeddings are tied."""

    control_start: Tensor

    def __init__(self, dims: LSTMDimensions) -> None:
        super().__init__()
        self.dims, self.vocabulary = dims, dims.vocabulary
        width = dims.width
        self.embedding = nn.Embedding(dims.vocabulary, width)
        self.cell_in = nn.Linear(dims.channels, width)
        self.cell_norm = nn.LayerNorm(width)
        self.label_position = nn.Parameter(torch.ones(dims.max_label_pieces, width))
        self.label_confidence = nn.Embedding(dims.buckets, width)
        self.label_weight = nn.Parameter(torch.linspace(-1.0, 2.0, dims.buckets))
        self.label_in = nn.Linear(width, width)
        self.label_norm = nn.LayerNorm(width)
        self.text_position = nn.Parameter(torch.zeros(dims.max_text_pieces, width))
        self.text_in = nn.Linear(width, width)
        self.text_norm = nn.LayerNorm(width)
        self.control = nn.Embedding(sum(LEVELS) + len(LEVELS), width)
        self.context_in = nn.Linear(width, width, bias=False)
        self.start = nn.Linear(width, 2 * dims.layers * width, bias=False)
        self.lstm = nn.LSTM(width, width, dims.layers, batch_first=True)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.merge = nn.Linear(2 * width, width)
        self.bias = nn.Parameter(torch.zeros(dims.vocabulary))
        self.embedding_dropout = nn.Dropout(dims.embedding_dropout)
        self.output_dropout = nn.Dropout(dims.output_dropout)
        self.state_specs = (
            StateSpec("keys", (0, width), growing=1, constant=True),
            StateSpec("values", (0, width), growing=1, constant=True),
            StateSpec("mask", (0,), growing=1, constant=True),
            StateSpec("context", (width,), constant=True),
            StateSpec("hidden", (dims.layers, width)),
            StateSpec("cell", (dims.layers, width)),
        )
        self.register_buffer("control_start", torch.from_numpy(control_starts()), persistent=False)
        self._initialise()

    def forward(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        values, mask, context = self._memory(prefix)
        hidden, cell = self._start(context)
        words = self.embedding_dropout(self._embed(tokens)) + context[:, None]
        steps, _ = self.lstm(words, (hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()))
        return self._logits(steps, self._attend(steps, self.key(values), values, mask))

    def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
        """See `Decoder.advance`."""
        new_values, new_mask, new_context = self._memory(prefix)
        keys = torch.cat([state["keys"], self.key(new_values)], 1)
        values = torch.cat([state["values"], new_values], 1)
        mask = torch.cat([state["mask"], new_mask], 1)
        context = state["context"] + new_context
        start_hidden, start_cell = self._start(new_context)  # zeros when the prefix is empty
        hidden, cell = self._step(
            (self._embed(tokens) + context[:, None]), state["hidden"] + start_hidden, state["cell"] + start_cell
        )
        top = hidden[:, -1:]
        logits = self._logits(top, self._attend(top, keys, values, mask))
        after = {"keys": keys, "values": values, "mask": mask, "context": context, "hidden": hidden, "cell": cell}
        return logits, after

    @torch.no_grad()
    def start_from(self, frequencies: Tensor) -> None:
        """Let the output begin with the frequencies of tokens, (vocabulary,), instead of learning them first."""
        self.bias.copy_(frequencies.log())

    def _embed(self, tokens: Tensor) -> Tensor:
        """Embeddings scaled to unit variance: tied to the output they are small, and the context would drown them."""
        scaled: Tensor = self.embedding(tokens) * math.sqrt(self.dims.width)
        return scaled

    def _memory(self, prefix: Prefix) -> tuple[Tensor, Tensor, Tensor]:
        """Slots (batch, slots, width), their mask (batch, slots) and their summary (batch, width)."""
        cells, cell_known = self._cells(prefix)
        labels, label_weight = self._labels(prefix)
        text, text_known = self._text(prefix)
        values = torch.cat([cells, labels, text], 1)
        known = torch.cat([cell_known, label_weight, text_known], 1) > 0
        mask = (~known).to(values.dtype) * MASKED
        summary = _mean(cells, cell_known) + _mean(labels, label_weight) + _mean(text, text_known)
        return values, mask, self.context_in(summary) + self._controls(prefix)

    def _controls(self, prefix: Prefix) -> Tensor:
        controls: Tensor = self.control(prefix.controls + self.control_start[: prefix.controls.shape[1]])
        return controls.sum(1)

    def _cells(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        cells = self.cell_norm(self.cell_in(prefix.map))
        known = torch.ones_like(cells[:, :, 0])
        if prefix.picture_known is not None:
            known = known * prefix.picture_known[:, None].to(known.dtype)
        return cells, known

    def _labels(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        # A name's pieces are multiplied by their position before they are added up: else "god" would be "dog".
        pieces = prefix.label_pieces
        known = (pieces >= 0).to(self.embedding.weight.dtype)[..., None]
        spelled = self._embed(pieces.clamp(min=0)) * self.label_position[: pieces.shape[2]] * known
        count = known.sum(2)
        name = spelled.sum(2) / count.clamp(min=1.0)
        labels = self.label_norm(self.label_in(name) + self.label_confidence(prefix.label_confidence))
        weight = torch.sigmoid(self.label_weight[prefix.label_confidence]) * (count[..., 0] > 0)
        return labels, weight

    def _text(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        pieces = prefix.text_pieces
        known = (pieces >= 0).to(self.embedding.weight.dtype)
        placed = self._embed(pieces.clamp(min=0)) + self.text_position[: pieces.shape[1]]
        return self.text_norm(self.text_in(placed)), known

    def _start(self, context: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.tanh(self.start(context[:, None])).reshape(-1, 2, self.dims.layers, self.dims.width)
        return both[:, 0], both[:, 1]

    def _step(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """`nn.LSTM` for one step, spelled out so that its weights are plain matrices in the exported graph."""
        hiddens, cells = [], []
        for layer in range(self.dims.layers):
            w_ih, w_hh, b_ih, b_hh = (getattr(self.lstm, f"{n}_l{layer}") for n in _LSTM_WEIGHTS)
            gates = functional.linear(x, w_ih, b_ih + b_hh) + functional.linear(hidden[:, layer : layer + 1], w_hh)
            i, f, g, o = gates.chunk(4, -1)
            c = torch.sigmoid(f) * cell[:, layer : layer + 1] + torch.sigmoid(i) * torch.tanh(g)
            x = torch.sigmoid(o) * torch.tanh(c)
            hiddens.append(x)
            cells.append(c)
        return torch.cat(hiddens, 1), torch.cat(cells, 1)

    def _attend(self, steps: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Multi-head attention of (batch, time, width) over the slots, and over one empty slot of score 0.

        The empty slot lets a step look at nothing, and keeps a picture without any slot well defined.
        """
        keys, values = functional.pad(keys, (0, 0, 1, 0)), functional.pad(values, (0, 0, 1, 0))
        mask = functional.pad(mask, (1, 0))[:, None, None]
        query, keys, values = self._heads(self.query(steps)), self._heads(keys), self._heads(values)
        seen = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask.to(query.dtype))
        return seen.transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.dims.heads, -1).transpose(1, 2)

    def _logits(self, steps: Tensor, seen: Tensor) -> Tensor:
        merged = torch.tanh(self.merge(self.embedding_dropout(torch.cat([steps, seen], -1))))
        return functional.linear(self.output_dropout(merged), self.embedding.weight, self.bias)

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(self.dims.width))
        nn.init.normal_(self.label_confidence.weight, std=0.5)
        nn.init.zeros_(self.control.weight)
        nn.init.normal_(self.text_position, std=0.5)
        with torch.no_grad():
            self.label_position.add_(torch.randn_like(self.label_position), alpha=0.5)


_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _mean(slots: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the slots: (batch, slots, width), (batch, slots) → (batch, width), zeros without slots."""
    total = weight.sum(1, keepdim=True)
    return (slots * weight[..., None]).sum(1) / total.clamp(min=1e-6)
