"""GPT-2 in torch as one would write it for speed: linear layers, fused attention, a cache that is written in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.serving.engines.turn import POSITIONS


class Block(nn.Module):
    """One block; its products are plain linear layers, which is what torch can quantise."""

    def __init__(self, named: dict[str, Tensor], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = (_norm(named, name) for name in ("ln_1", "ln_2"))
        self.qkv, self.out = (_linear(named, name) for name in ("attn.c_attn", "attn.c_proj"))
        self.up, self.down = (_linear(named, name) for name in ("mlp.c_fc", "mlp.c_proj"))

    def forward(self, x: Tensor, cache: Tensor, before: int) -> Tensor:
        """(rows, time, width); cache (2, rows, heads, positions, width of a head) is written from `before` on."""
        rows, time, width = x.shape
        query, keys, values = self.qkv(self.ln_1(x)).view(rows, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        end = before + time
        cache[0, :, :, before:end], cache[1, :, :, before:end] = keys, values
        seen = functional.scaled_dot_product_attention(
            query, cache[0, :, :, :end], cache[1, :, :, :end], is_causal=time > 1
        )
        x = x + self.out(seen.transpose(1, 2).reshape(rows, time, width))
        result: Tensor = x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))
        return result


class GPT2(nn.Module):
    """The whole language model."""

    def __init__(self, named: dict[str, Tensor], heads: int, layers: int) -> None:
        """Args: named: weights, as in `transformers.GPT2Model`."""
        super().__init__()
        self.heads, self.layers = heads, layers
        self.words, self.places = nn.Parameter(named["wte.weight"]), nn.Parameter(named["wpe.weight"])
        self.blocks = nn.ModuleList(Block(_below(named, f"h.{layer}."), self.heads) for layer in range(self.layers))
        self.norm = _norm(named, "ln_f")
        self.head = nn.Linear(self.words.shape[1], self.words.shape[0], bias=False)
        self.head.weight = nn.Parameter(named["wte.weight"])

    def cache(self, rows: int) -> Tensor:
        """Empty keys and values."""
        return torch.zeros(self.layers, 2, rows, self.heads, POSITIONS, self.words.shape[1] // self.heads)

    def embed(self, tokens: Tensor, first: int) -> Tensor:
        """(rows, time) tokens, of which the first has this position → (rows, time, width)."""
        return self.words[tokens] + self.places[first : first + tokens.shape[1]]

    def forward(self, x: Tensor, cache: Tensor, before: int) -> Tensor:
        """(rows, time, width) behind what the cache holds already → (rows, vocabulary) logits of the next token."""
        for block, part in zip(self.blocks, cache, strict=True):
            x = block(x, part, before)
        logits: Tensor = self.head(self.norm(x[:, -1]))
        return logits


def _below(named: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def _norm(named: dict[str, Tensor], name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(len(named[f"{name}.weight"]))
    layer.load_state_dict({"weight": named[f"{name}.weight"], "bias": named[f"{name}.bias"]})
    return layer


def _linear(named: dict[str, Tensor], name: str) -> nn.Linear:
    weight = named[f"{name}.weight"].T.contiguous()  # Conv1D has (in, out)
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": named[f"{name}.bias"]})
    return layer
