"""What holds for every decoder, whatever it is made of."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ogiri.captioning.model.decoder import Decoder, Prefix


def steps(decoder: Decoder, prefix: Prefix, tokens: Tensor) -> Tensor:
    """What `advance` gives for the tokens, one after the other."""
    logits, state = decoder.advance(tokens[:, :1], prefix, decoder.initial_state(len(tokens)))
    found = [logits]
    for step in range(1, tokens.shape[1]):
        logits, state = decoder.advance(tokens[:, step : step + 1], prefix.emptied(), state)
        found.append(logits)
    return torch.cat(found, 1)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def difference(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


def assert_rows_share_maps(decoder: Decoder, prefix: Prefix, tokens: Tensor) -> None:
    """Rows that share a map see what each would see alone; prefix and tokens have three rows."""
    of_row = torch.tensor([1, 0, 1])
    shared = dataclasses.replace(prefix, map=prefix.map[:2], map_of=of_row)
    alone = dataclasses.replace(prefix, map=prefix.map[of_row])
    assert_same(decoder(shared, tokens), decoder(alone, tokens))
    assert_same(steps(decoder, shared, tokens), decoder(alone, tokens))
    some = torch.tensor([2, 1])
    assert_same(decoder(shared.take(some), tokens[some]), decoder(alone.take(some), tokens[some]))


def assert_places_alone(decoder: Decoder, prefix: Prefix, tokens: Tensor, lines: int) -> None:
    """Logits can be had of some places alone, of several lines of rows that share maps too."""
    shared = dataclasses.replace(prefix, map=prefix.map[:2], map_of=torch.tensor([1, 0, 1]))
    several = tokens.repeat_interleave(lines, 0)
    places = torch.randperm(several.numel(), generator=torch.Generator().manual_seed(2))[:7]
    expected = decoder(shared, several, lines).flatten(0, 1)[places]
    assert_same(decoder(shared, several, lines, places), expected)
