"""GPT-2 (Radford et al. 2019) that reads the picture, labels, text and controls as slots before the line.

The weights lie in `transformers`' modules, so that those of a published language model fit; what is computed with
them is spelled out here, because serving takes one step at a time with the keys and values of the steps before, and
its graph needs them as plain arrays.

The prefix is, in this order: the cells of the picture's map, labels, pieces of detected text, controls. Its slots have
no position of the language model but an embedding of their kind, and the begin token stands at position 0 in front of
every line, as it does in the texts that language models are trained on. So padding leaves no trace in a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2Model

from ogiri.captioning.model.controls import LEVELS, control_starts
from ogiri.captioning.model.decoder import Decoder, Prefix, State, StateSpec, at_places

MASKED = -1e4  # score of what must not be seen; finite, so that a slot that sees nothing stays a number
PICTURE, LABEL, TEXT = range(3)  # kinds of slots; controls have rows of their own
_CACHES = ("keys", "values")
_ONNX_INT32 = 6

Look = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class GPT2Dimensions:
    """The sizes of a GPT-2 decoder.

    Attributes:
        vocabulary: tokens.
        channels: width of the encoder's map.
        buckets: confidence buckets.
        positions: tokens of a line, the begin token counted.
        max_label_pieces, max_text_pieces: positions that labels and text can have.
        width: of embeddings and states.
        heads: of the attention.
        layers: transformer blocks.
        inner: width inside a block, by default four times the width.
        epsilon: of the layer norms.
        dropout: everywhere that GPT-2 has it.
    """

    vocabulary: int
    channels: int
    buckets: int
    positions: int
    max_label_pieces: int = 8
    max_text_pieces: int = 16
    width: int = 384
    heads: int = 6
    layers: int = 6
    inner: int | None = None
    epsilon: float = 1e-5
    dropout: float = 0.1


class GPT2Decoder(Decoder):
    """See the module's text. Input and output embeddings are tied."""

    custom_opsets = {"com.microsoft": 1}  # noqa: RUF012 - as `Decoder` has it
    control_start: Tensor

    def __init__(self, dims: GPT2Dimensions) -> None:
        super().__init__()
        self.dims, self.vocabulary = dims, dims.vocabulary
        self.transformer = GPT2Model(_config(dims))
        self.cell_in = nn.Linear(dims.channels, dims.width)
        self.cell_norm = nn.LayerNorm(dims.width)
        self.kind = nn.Parameter(torch.empty(3, dims.width))
        self.label_position = nn.Parameter(torch.empty(dims.max_label_pieces, dims.width))
        self.label_confidence = nn.Embedding(dims.buckets, dims.width)
        self.text_position = nn.Parameter(torch.empty(dims.max_text_pieces, dims.width))
        self.control = nn.Embedding(sum(LEVELS) + len(LEVELS), dims.width)
        self.register_buffer("control_start", torch.from_numpy(control_starts()), persistent=False)
        of_head = (dims.heads, 0, dims.width // dims.heads)
        self.state_specs = (
            StateSpec("past", (), dtype=torch.int32),  # slots and tokens that the caches hold of a row
            StateSpec("position", (), dtype=torch.int64),  # of the next token
            *(StateSpec(f"{name}.{layer}", of_head, growing=2) for layer in range(dims.layers) for name in _CACHES),
        )
        self._pretrained = False
        self._initialise()

    def load_language_model(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a language model, named as in `transformers.GPT2Model`; all of them are needed."""
        self.transformer.load_state_dict(weights)
        self._pretrained = True
        self._initialise()

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """See `Decoder.pretrained_parameters`."""
        return list(self.transformer.parameters()) if self._pretrained else []

    def forward(self, prefix: Prefix, tokens: Tensor, lines: int = 1, wanted: Tensor | None = None) -> Tensor:
        """See `Decoder.forward`."""
        return self._logits(at_places(self._run(prefix, tokens, self._look, lines), wanted))

    def attention(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        """See `Decoder.attention`: the mean over layers and heads; the last slot is the line."""
        time, seen = tokens.shape[1], []

        def look(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
            shares = (query @ keys.transpose(2, 3) * self._scale + mask).softmax(-1)
            seen.append(shares[:, :, -time:].mean(1))
            return shares @ values

        self._run(prefix, tokens, look)
        shares = torch.stack(seen).mean(0)
        return torch.cat([shares[..., :-time], shares[..., -time:].sum(-1, keepdim=True)], -1)

    def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
        """See `Decoder.advance`.

        The caches hold what is known of the prefix and the line, one after the other and without padding: where a row's
        part ends, says `past`. So rows at different steps of different lines go side by side.
        """
        slots, hidden = self._slots(prefix)
        x, count = _packed(torch.cat([slots, self._words(tokens, state["position"])], 1), hidden)
        after = {"past": state["past"] + count.to(torch.int32), "position": state["position"] + tokens.shape[1]}
        for layer, block in enumerate(self.transformer.h):
            names = [f"{name}.{layer}" for name in _CACHES]
            caches = [state[name] for name in names]
            parts = (_projected(block, x), *caches, state["past"], count, self.dims.heads)
            found, *grown = CachedAttention.apply(*parts)
            after |= dict(zip(names, grown, strict=True))
            x = self._finish(block, x, found)
        last = (count - 1)[:, None, None].expand(-1, 1, x.shape[2])
        return self._logits(x.gather(1, last)), after

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.dims.width // self.dims.heads)

    def _run(self, prefix: Prefix, tokens: Tensor, look: Look, lines: int = 1) -> Tensor:
        """What the blocks make of the lines, all steps at once: (batch × lines, time, width)."""
        slots, known = (part.repeat_interleave(lines, 0) for part in self._slots(prefix))
        x = self.transformer.drop(torch.cat([slots, self._words(tokens, tokens.new_zeros(len(tokens)))], 1))
        mask = _causal_mask(known, tokens.shape[1])
        for block in self.transformer.h:
            query, keys, values = self._heads(block, x)
            x = self._finish(block, x, look(query, keys, values, mask).transpose(1, 2).flatten(2))
        line: Tensor = x[:, slots.shape[1] :]
        return line

    def _look(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        dropout = self.dims.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(query, keys, values, mask.to(query.dtype), dropout)

    def _heads(self, block: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, keys and values of a block: (batch, heads, slots, width of a head) each."""
        projected = _projected(block, x)
        batch, slots = x.shape[0], x.shape[1]
        query, keys, values = projected.reshape(batch, slots, 3, self.dims.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return query, keys, values

    def _finish(self, block: Any, x: Tensor, seen: Tensor) -> Tensor:
        """The rest of a block, given what its attention saw: (batch, slots, width)."""
        x = x + block.attn.resid_dropout(_linear(block.attn.c_proj, seen))
        inner = _gelu(_linear(block.mlp.c_fc, block.ln_2(x)))
        out: Tensor = x + block.mlp.dropout(_linear(block.mlp.c_proj, inner))
        return out

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(self.transformer.ln_f(x), self.transformer.wte.weight)

    def _words(self, tokens: Tensor, first: Tensor) -> Tensor:
        """Tokens of the line, (batch, time), of which each row's first has this position."""
        positions = first[:, None] + torch.arange(tokens.shape[1], device=tokens.device)
        words: Tensor = self.transformer.wte(tokens) + self.transformer.wpe(positions)
        return words

    def _slots(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        """Slots of the prefix (batch, slots, width), and the scores (batch, slots) that hide padding."""
        cells, cells_known = self._cells(prefix)
        labels, labels_known = self._labels(prefix)
        text, text_known = self._text(prefix)
        controls = self.control(prefix.controls + self.control_start[: prefix.controls.shape[1]])
        known = torch.cat(
            [cells_known, labels_known, text_known, torch.ones_like(prefix.controls, dtype=torch.bool)], 1
        )
        return torch.cat([cells, labels, text, controls], 1), (~known).to(self.kind.dtype) * MASKED

    def _cells(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        cells = prefix.by_row(self.cell_norm(self.cell_in(prefix.map)) + self.kind[PICTURE])
        known = torch.ones_like(cells[:, :, 0], dtype=torch.bool)
        if prefix.picture_known is not None:
            known = known & prefix.picture_known[:, None]
        return cells, known

    def _labels(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        # A name's pieces are multiplied by their position before they are added up: else "god" would be "dog".
        pieces = prefix.label_pieces
        known = (pieces >= 0).to(self.kind.dtype)[..., None]
        spelled = self.transformer.wte(pieces.clamp(min=0)) * self.label_position[: pieces.shape[2]] * known
        count = known.sum(2)
        name = spelled.sum(2) / count.clamp(min=1.0)
        return name + self.label_confidence(prefix.label_confidence) + self.kind[LABEL], count[..., 0] > 0

    def _text(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        pieces = prefix.text_pieces
        placed = self.transformer.wte(pieces.clamp(min=0)) + self.text_position[: pieces.shape[1]]
        return placed + self.kind[TEXT], pieces >= 0

    @torch.no_grad()
    def _initialise(self) -> None:
        """Slots as large as the rows of the embedding: the blocks would hear nothing else beside larger ones."""
        size = self.transformer.wte.weight.square().mean().sqrt().item()
        nn.init.constant_(self.cell_norm.weight, size)
        for table in (self.kind, self.label_confidence.weight, self.text_position, self.control.weight):
            nn.init.normal_(table, std=size)
        nn.init.normal_(self.label_position, mean=1.0, std=0.5)


def weight_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of a language model, without making it."""
    with torch.device("meta"):
        return {name: tuple(weight.shape) for name, weight in GPT2Model(config).state_dict().items()}


def _config(dims: GPT2Dimensions) -> GPT2Config:
    return GPT2Config(
        vocab_size=dims.vocabulary,
        n_positions=dims.positions,
        n_embd=dims.width,
        n_layer=dims.layers,
        n_head=dims.heads,
        n_inner=dims.inner,
        layer_norm_epsilon=dims.epsilon,
        resid_pdrop=dims.dropout,
        embd_pdrop=dims.dropout,
        attn_pdrop=dims.dropout,
        bos_token_id=None,
        eos_token_id=None,
    )


def _linear(layer: Any, x: Tensor) -> Tensor:
    """`transformers`' Conv1D, whose weight is (in, out), as the plain product that export and quantisation know."""
    product: Tensor = x @ layer.weight + layer.bias
    return product


def _projected(block: Any, x: Tensor) -> Tensor:
    """Queries, keys and values of a block, one behind the other: (batch, slots, 3 * width)."""
    return _linear(block.attn.c_attn, block.ln_1(x))


def _gelu(x: Tensor) -> Tensor:
    """GELU with the tanh formula, in a graph as one node."""
    if torch.onnx.is_in_onnx_export():
        found: Tensor = _FastGelu.apply(x)
        return found
    return functional.gelu(x, approximate="tanh")


class _FastGelu(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return functional.gelu(x, approximate="tanh")

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        found = g.op("com.microsoft::FastGelu", x)
        found.setType(x.type())  # or the exporter warns of each
        return found


def _causal_mask(hidden: Tensor, time: int) -> Tensor:
    """Scores (batch, 1, slots + time, slots + time) that hide what comes later, and padding (batch, slots)."""
    padding = functional.pad(hidden, (0, time))
    order = torch.arange(padding.shape[1], device=hidden.device)
    later = (order > order[:, None]).to(hidden.dtype) * MASKED
    return later + padding[:, None, None]


def _packed(x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Put what is known first, in its order, and padding behind it; as little of that as the longest row leaves.

    Args:
        x: (batch, slots + time, width).
        hidden: (batch, slots), 0 where a slot is known; the line always is.

    Returns:
        The same in the new order, and how much of each row is known, (batch,) int64.
    """
    known = functional.pad((hidden == 0).to(torch.int64), (0, x.shape[1] - hidden.shape[1]), value=1)
    count = known.sum(1)
    place = torch.where(known > 0, known.cumsum(1) - 1, count[:, None] + (1 - known).cumsum(1) - 1)
    packed = torch.zeros_like(x).scatter(1, place[..., None].expand_as(x), x)
    return packed[:, : count.max()], count


class CachedAttention(torch.autograd.Function):
    """Causal attention of some new positions over those in two caches and themselves.

    In a graph it is ONNX Runtime's GroupQueryAttention, which writes new keys and values into the caches' own memory
    where that is given as the output too. Here it is spelled out for training and tests; it has no gradient.
    """

    @staticmethod
    def forward(
        _ctx: Any,
        projected: Tensor,
        old_keys: Tensor,
        old_values: Tensor,
        past: Tensor,
        count: Tensor,
        heads: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            projected: (batch, new, 3 * width) queries, keys and values.
            old_keys: (batch, heads, positions, width of a head) cache.
            old_values: the same for values.
            past: (batch,) how many positions of each row hold something.
            count: (batch,) how many of the new positions are known; what comes behind them is of no use.
            heads: that share the width.

        Returns:
            What was seen, (batch, new, width), and the caches with the new positions in them.
        """
        batch, new = projected.shape[:2]
        query, *parts = projected.reshape(batch, new, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        where = past.to(torch.int64)[:, None] + torch.arange(new, device=past.device)
        room = max(0, int(where.max()) + 1 - old_keys.shape[2])
        index = where[:, None, :, None].expand_as(parts[0])
        keys, values = (
            functional.pad(old, (0, 0, 0, room)).scatter(2, index, part)
            for old, part in zip((old_keys, old_values), parts, strict=True)
        )
        later = torch.arange(keys.shape[2], device=past.device) > where[:, :, None]
        scores = query @ keys.transpose(2, 3) / math.sqrt(query.shape[3]) + later[:, None] * MASKED
        length = max(old_keys.shape[2], int((past + count).max()))
        seen = scores.softmax(-1) @ values
        return seen.transpose(1, 2).flatten(2), keys[:, :, :length], values[:, :, :length]

    @staticmethod
    def symbolic(g: Any, projected: Any, old_keys: Any, old_values: Any, past: Any, count: Any, heads: int) -> Any:
        """The node of the graph."""
        known = g.op("Add", past, g.op("Cast", count, to_i=_ONNX_INT32))
        last = g.op("Sub", known, g.op("Constant", value_t=torch.tensor(1, dtype=torch.int32)))
        longest = g.op("ReduceMax", known, keepdims_i=0)
        nothing = g.op("prim::Constant")
        nothing.setType(torch._C.OptionalType.ofTensor())  # keys and values come with the queries
        seen, keys, values = g.op(
            "com.microsoft::GroupQueryAttention",
            projected,
            nothing,
            nothing,
            old_keys,
            old_values,
            last,
            longest,
            num_heads_i=heads,
            kv_num_heads_i=heads,
            outputs=3,
        )
        seen.setType(projected.type().with_sizes([None, None, None]))
        keys.setType(old_keys.type())
        values.setType(old_values.type())
        return seen, keys, values
