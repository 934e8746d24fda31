"""Two LSTMs with attention over the feature map, the labels and the detected text between them.

The first LSTM runs over the words, each step's *current* hidden state queries the memory (Lu et al. 2017,
arXiv:1612.01887), and the second LSTM runs over what was seen: Anderson et al. 2018, arXiv:1707.07998, without the way
back from the second to the first. So training has no Python loop over steps, while serving still takes one step at a
time with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogiri.captioning.model.controls import LEVELS, control_starts
from ogiri.captioning.model.decoder import Decoder, Prefix, State, StateSpec, at_places

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
        layers: of the LSTM before the attention; the one after it has a single one.
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
        self.start = nn.Linear(width, 2 * (dims.layers + 1) * width, bias=False)
        self.words = nn.LSTM(width, width, dims.layers, batch_first=True)
        self.sights = nn.LSTM(2 * width, width, batch_first=True)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.merge = nn.Linear(3 * width, width)
        self.bias = nn.Parameter(torch.zeros(dims.vocabulary))
        self.embedding_dropout = nn.Dropout(dims.embedding_dropout)
        self.output_dropout = nn.Dropout(dims.output_dropout)
        self.state_specs = (
            StateSpec("keys", (dims.heads, width // dims.heads, 0), growing=3, constant=True),
            StateSpec("values", (dims.heads, 0, width // dims.heads), growing=2, constant=True),
            StateSpec("mask", (0,), growing=1, constant=True, padding=MASKED),
            StateSpec("context", (width,), constant=True),
            StateSpec("hidden", (dims.layers + 1, width)),
            StateSpec("cell", (dims.layers + 1, width)),
        )
        self.register_buffer("control_start", torch.from_numpy(control_starts()), persistent=False)
        self._initialise()

    def forward(self, prefix: Prefix, tokens: Tensor, lines: int = 1, wanted: Tensor | None = None) -> Tensor:
        """See `Decoder.forward`."""
        values, mask, context = self._memory(prefix)
        context = context.repeat_interleave(lines, 0)
        start = self._start(context)
        steps = self._run(start, context, tokens)
        of_prefix = steps.reshape(len(values), -1, steps.shape[2])  # all lines of a prefix look at one memory
        seen = self._attend(of_prefix, self.key(values), values, mask).reshape(steps.shape)
        state = _layers(start, slice(self.dims.layers, None))
        after, _ = self.sights(self.embedding_dropout(torch.cat([steps, seen], -1)), state)
        return self._logits(*(at_places(part, wanted) for part in (steps, seen, after)))

    def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
        """See `Decoder.advance`.

        The attention looks at what the state holds and at what the prefix brings one after the other, so that a step,
        which brings nothing, copies no keys and values.
        """
        values, mask, new_context = self._memory(prefix)
        keys, values = self._keys(values), self._heads(values)
        context = state["context"] + new_context
        start = self._start(new_context)  # zeros when the prefix is empty
        layers, ones = self.dims.layers, [1] * (self.dims.layers + 1)
        hidden, cell = (
            (state[name] + part).split_with_sizes(ones, 1) for name, part in zip(_MOVING, start, strict=True)
        )
        words = self._embed(tokens) + context[:, None]
        first = _step(self.words, words, hidden[:layers], cell[:layers])
        top = first[0][-1]
        seen = self._look(top, (state["keys"], state["values"], state["mask"]), (keys, values, mask))
        second = _step(self.sights, torch.cat([top, seen], -1), hidden[layers:], cell[layers:])
        after = {
            "keys": _longer(state["keys"], keys, 3),
            "values": _longer(state["values"], values, 2),
            "mask": _longer(state["mask"], mask, 1),
            "context": context,
            "hidden": torch.cat([*first[0], *second[0]], 1),
            "cell": torch.cat([*first[1], *second[1]], 1),
        }
        return self._logits(top, seen, second[0][-1]), after

    def attention(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        """See `Decoder.attention`: the mean over the heads; the last slot is the empty one."""
        values, mask, context = self._memory(prefix)
        query = self._heads(self.query(self._run(self._start(context), context, tokens)))
        keys = self._heads(functional.pad(self.key(values), (0, 0, 0, 1)))
        scores = query @ keys.transpose(2, 3) / math.sqrt(query.shape[3])
        return (scores + functional.pad(mask, (0, 1))[:, None, None]).softmax(-1).mean(1)

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
        cells = prefix.by_row(self.cell_norm(self.cell_in(prefix.map)))
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
        both = torch.tanh(self.start(context[:, None])).reshape(-1, 2, self.dims.layers + 1, self.dims.width)
        return both[:, 0], both[:, 1]

    def _run(self, start: tuple[Tensor, Tensor], context: Tensor, tokens: Tensor) -> Tensor:
        """The first LSTM's hidden state after each token, all at once: (batch, time, width)."""
        words = self.embedding_dropout(self._embed(tokens)) + context[:, None]
        steps: Tensor
        steps, _ = self.words(words, _layers(start, slice(self.dims.layers)))
        return steps

    def _attend(self, steps: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Multi-head attention of (batch, time, width) over the slots, and over one empty slot of score 0.

        The empty slot lets a step look at nothing, and keeps a picture without any slot well defined.
        """
        keys, values = functional.pad(keys, (0, 0, 1, 0)), functional.pad(values, (0, 0, 1, 0))
        mask = functional.pad(mask, (1, 0))[:, None, None]
        query, keys, values = self._heads(self.query(steps)), self._heads(keys), self._heads(values)
        seen = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask.to(query.dtype))
        return seen.transpose(1, 2).flatten(2)

    def _look(self, step: Tensor, *memories: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """`_attend` of a single step (batch, 1, width) over several memories, each keys, values and mask."""
        query = self.query(step).reshape(-1, self.dims.heads, 1, self.dims.width // self.dims.heads)
        scores = [query @ keys + mask[:, None, None] for keys, _, mask in memories]
        shares = torch.cat([query[..., :1] * 0, *scores], -1).softmax(-1)  # the empty slot first
        seen, begin = torch.zeros(()), 1
        for _, values, mask in memories:
            end = begin + mask.shape[1]
            seen, begin = seen + shares[..., begin:end] @ values, end
        return seen.reshape(-1, 1, self.dims.width)

    def _keys(self, values: Tensor) -> Tensor:
        """Slots (batch, slots, width) → what `_look` multiplies by, (batch, heads, width of a head, slots)."""
        scale = 1 / math.sqrt(self.dims.width // self.dims.heads)
        return self._heads(self.key(values) * scale).transpose(2, 3)

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, slots, width) → (batch, heads, slots, width of a head); there may be no slots."""
        heads = self.dims.heads
        return x.reshape(*x.shape[:2], heads, self.dims.width // heads).transpose(1, 2)

    def _logits(self, steps: Tensor, seen: Tensor, after: Tensor) -> Tensor:
        merged = torch.tanh(self.merge(self.embedding_dropout(torch.cat([steps, after, seen], -1))))
        return functional.linear(self.output_dropout(merged), self.embedding.weight, self.bias)

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(self.dims.width))
        nn.init.normal_(self.label_confidence.weight, std=0.5)
        nn.init.zeros_(self.control.weight)
        nn.init.normal_(self.text_position, std=0.5)
        with torch.no_grad():
            self.label_position.add_(torch.randn_like(self.label_position), alpha=0.5)


_MOVING = ("hidden", "cell")  # from step to step
_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _layers(state: tuple[Tensor, Tensor], which: slice) -> tuple[Tensor, Tensor]:
    """Some layers of (batch, layers, width) as `nn.LSTM` takes them."""
    hidden, cell = (part[:, which].transpose(0, 1).contiguous() for part in state)
    return hidden, cell


def _step(
    lstm: nn.LSTM, x: Tensor, hidden: Sequence[Tensor], cell: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """`nn.LSTM` for one step, spelled out so that its weights are one plain matrix a layer in the exported graph.

    Args:
        lstm: whose weights are taken.
        x: (batch, 1, width).
        hidden: of each layer, (batch, 1, width).
        cell: the same.
    """
    hiddens, cells = [], []
    for layer, (h, c) in enumerate(zip(hidden, cell, strict=True)):
        w_ih, w_hh, b_ih, b_hh = (getattr(lstm, f"{n}_l{layer}") for n in _LSTM_WEIGHTS)
        gates = functional.linear(torch.cat([x, h], -1), torch.cat([w_ih, w_hh], 1), b_ih + b_hh)
        i, f, g, o = gates.split_with_sizes([lstm.hidden_size] * 4, -1)
        cells.append(torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g))
        x = torch.sigmoid(o) * torch.tanh(cells[-1])
        hiddens.append(x)
    return hiddens, cells


def _longer(old: Tensor, new: Tensor, axis: int) -> Tensor:
    """The new behind the old; a step brings nothing, and the old is not copied then. A graph has it for both."""
    if new.shape[axis] == 0 and not torch.onnx.is_in_onnx_export():
        return old
    return torch.cat([old, new], axis)


def _mean(slots: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the slots: (batch, slots, width), (batch, slots) → (batch, width), zeros without slots."""
    total = weight.sum(1, keepdim=True)
    return (slots * weight[..., None]).sum(1) / total.clamp(min=1e-6)
