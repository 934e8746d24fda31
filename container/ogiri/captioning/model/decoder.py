"""What every decoder is to training, export and the engine: prefill → state; step(token, state) → logits, state.

Both are one function, `advance`: prefill gives it the whole prefix and the begin token, a step gives it an empty prefix
and the token before. That makes one graph of both, with the weights in it once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass(frozen=True)
class Prefix:
    """What is known before the first word; each part may be empty.

    Attributes:
        map: (batch, cells, channels) feature map of the picture; (pictures, …) with `map_of`.
        label_pieces: (batch, labels, pieces) int64, padded with -1.
        label_confidence: (batch, labels) int64 confidence buckets.
        text_pieces: (batch, pieces) int64, padded with -1.
        controls: (batch, 2) int64, levels of score and length that are asked for, 0 = any.
        picture_known: (batch,) bool, for training only: False hides the picture of a row.
        map_of: (batch,) int64, for training only: which map each row sees, where rows share them.
    """

    map: Tensor
    label_pieces: Tensor
    label_confidence: Tensor
    text_pieces: Tensor
    controls: Tensor
    picture_known: Tensor | None = None
    map_of: Tensor | None = None

    def __len__(self) -> int:
        """Rows of the batch."""
        return len(self.label_pieces)

    def to(self, device: torch.device) -> Prefix:
        """The same on another device."""
        return Prefix(**{name: value.to(device) for name, value in vars(self).items() if value is not None})

    def take(self, rows: Tensor) -> Prefix:
        """Some rows of the batch."""
        shared = set() if self.map_of is None else {"map"}
        return Prefix(**{n: v if n in shared else v[rows] for n, v in vars(self).items() if v is not None})

    def by_row(self, of_maps: Tensor) -> Tensor:
        """What was worked out for each map, (maps, …), for each row: (batch, …)."""
        return of_maps if self.map_of is None else of_maps.index_select(0, self.map_of)

    def emptied(self) -> Prefix:
        """The same batch with nothing known: what a step is given."""
        return Prefix(
            self.map.new_zeros(len(self), 0, self.map.shape[2]),
            self.label_pieces[:, :0, :0],
            self.label_confidence[:, :0],
            self.text_pieces[:, :0],
            self.controls[:, :0],
        )


@dataclass(frozen=True)
class StateSpec:
    """One tensor of the state.

    Attributes:
        name: `hidden`.
        shape: of one row before prefill, without the batch dimension.
        growing: the axis of the whole tensor (batch first) that grows at prefill or at every step, None when none does.
        constant: it does not change after prefill.
        padding: what a constant that grows is filled up with, so that rows of different lengths stand side by side.
        dtype: of its numbers.
    """

    name: str
    shape: tuple[int, ...]
    growing: int | None = None
    constant: bool = False
    padding: float = 0.0
    dtype: torch.dtype = torch.float32


class Decoder(nn.Module, ABC):
    """A model of the next token, given a prefix and the tokens so far."""

    state_specs: tuple[StateSpec, ...]
    vocabulary: int
    custom_opsets: Mapping[str, int] = {}
    """Domains of operators beside ONNX's own that its graph needs, and their versions."""

    @abstractmethod
    def forward(self, prefix: Prefix, tokens: Tensor, lines: int = 1, wanted: Tensor | None = None) -> Tensor:
        """All steps at once, for training.

        Args:
            prefix: what is known, (batch, …).
            tokens: (batch × lines, time) int64, the begin token first; the lines of a prefix stand together.
            lines: of each prefix, which is worked out once for all of them.
            wanted: (tokens,) int64, the places that logits are given for, counted through line after line; None = all.

        Returns:
            (batch × lines, time, vocabulary) logits of the token after each; with `wanted` (tokens, vocabulary).
        """

    @abstractmethod
    def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
        """One step, and with a prefix that is not empty the prefill.

        Args:
            tokens: (batch, 1) int64, the token before.
            prefix: the whole prefix at prefill, an empty one at each step.
            state: as `initial_state` or the step before gave it.

        Returns:
            (batch, 1, vocabulary) logits and the state after this token.
        """

    def attention(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        """Where the decoder looks at each step, for people to see.

        Args:
            prefix: what is known.
            tokens: (batch, time) int64, the begin token first.

        Returns:
            (batch, time, slots) shares that add up to 1 over the slots. These are, in this order: the cells of
            `prefix.map`, the labels, the pieces of text, the controls of a decoder that looks at them as slots (none
            otherwise), and last one slot for all the rest: nothing, the begin token, the words so far. Where the
            decoder looked to choose the token after `tokens[:, t]` stands at `t`; padding gets 0.

        Raises:
            NotImplementedError: this kind of decoder does not tell.
        """
        raise NotImplementedError(f"{type(self).__name__} does not tell where it looks")

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Weights that came from another training, which this one treats gently; none unless a decoder says so."""
        return []

    def initial_state(self, batch: int, device: torch.device | None = None) -> State:
        """The state before prefill: zeros."""
        return {
            spec.name: torch.zeros(batch, *spec.shape, dtype=spec.dtype, device=device) for spec in self.state_specs
        }


def at_places(steps: Tensor, places: Tensor | None) -> Tensor:
    """What stands at some places of all lines, (lines, time, …) → (places, …); None = everything, as it is."""
    return steps if places is None else steps.flatten(0, 1).index_select(0, places)


@torch.no_grad()
def greedy(decoder: Decoder, prefix: Prefix, bos: int, eos: int, max_tokens: int) -> list[list[int]]:
    """The most likely token at each step, without the end token: a quick look while training.

    Lines that have ended are stepped no more.
    """
    batch, device = len(prefix), prefix.map.device
    tokens = torch.full((batch, 1), bos, dtype=torch.int64, device=device)
    logits, state = decoder.advance(tokens, prefix, decoder.initial_state(batch, device))
    empty, rows = prefix.emptied(), torch.arange(batch, device=device)
    lines: list[list[int]] = [[] for _ in range(batch)]
    for step in range(1, max_tokens + 1):
        tokens = logits[:, -1].argmax(-1, keepdim=True)
        live = (tokens[:, 0] != eos).nonzero()[:, 0]
        for row, token in zip(rows[live].tolist(), tokens[live, 0].tolist(), strict=True):
            lines[row].append(token)
        if len(live) == 0 or step == max_tokens:
            break
        if len(live) < len(rows):
            rows, tokens, empty = rows[live], tokens[live], empty.take(live)
            state = {name: value[live] for name, value in state.items()}
        logits, state = decoder.advance(tokens, empty, state)
    return lines
