"""Where the decoder says that it looks is where it looks."""

import pytest
import torch
from torch import Tensor, nn

from ogiri.captioning.model.decoder import Decoder, Prefix, State
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions

CELLS, CHANNELS, LABELS, TEXT, TIME = 4, 6, 2, 3, 5
SLOTS = CELLS + LABELS + TEXT + 1


def lstm(heads: int = 8) -> LSTMDecoder:
    torch.manual_seed(0)
    decoder = LSTMDecoder(LSTMDimensions(40, CHANNELS, buckets=4, width=32, heads=heads)).eval()
    with torch.no_grad():
        decoder.query.weight.mul_(8)  # new weights look everywhere alike
    return decoder.requires_grad_(False)


@pytest.fixture
def prefix() -> Prefix:
    """Two pictures: two labels and text; one label and padding."""
    return Prefix(
        torch.randn(2, CELLS, CHANNELS, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[[5, 6], [7, -1]], [[9, 6], [-1, -1]]]),
        torch.tensor([[1, 2], [0, 0]]),
        torch.tensor([[10, 11, 12], [14, -1, -1]]),
        torch.zeros(2, 2, dtype=torch.int64),
    )


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(3, 40, (2, TIME), generator=torch.Generator().manual_seed(1))


def test_shares_add_up_to_one_and_padding_gets_none(prefix: Prefix, tokens: Tensor):
    shares = lstm().attention(prefix, tokens)
    assert shares.shape == (2, TIME, SLOTS)
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, TIME))
    assert (shares[0] > 0).all()
    label, text = CELLS + 1, CELLS + LABELS + 1
    assert not shares[1, :, [label, text, text + 1]].any()
    assert (shares[1, :, [0, CELLS, CELLS + LABELS, SLOTS - 1]] > 0).all()


def test_with_one_head_the_shares_are_what_the_slots_are_mixed_by(prefix: Prefix, tokens: Tensor):
    decoder = lstm(heads=1)
    shares = decoder.attention(prefix, tokens)
    values, mask, context = decoder._memory(prefix)
    steps = decoder._run(decoder._start(context), context, tokens)
    seen = decoder._attend(steps, decoder.key(values), values, mask)
    torch.testing.assert_close(shares[..., :-1] @ values, seen)
    assert shares[..., -1].std() > 0.01


def test_with_nothing_known_all_of_it_is_the_rest(prefix: Prefix, tokens: Tensor):
    shares = lstm().attention(prefix.emptied(), tokens)
    assert torch.equal(shares, torch.ones(2, TIME, 1))


def test_a_step_does_not_see_the_tokens_after_it(prefix: Prefix, tokens: Tensor):
    other = tokens.clone()
    other[:, 3] += 1
    one, changed = (lstm().attention(prefix, each) for each in (tokens, other))
    assert torch.equal(one[:, :3], changed[:, :3])
    assert (one[:, 3] - changed[:, 3]).abs().max() > 1e-3


def test_a_cell_that_draws_the_query_gets_the_look(prefix: Prefix, tokens: Tensor):
    decoder = lstm(heads=1)
    values, _, context = decoder._memory(prefix)
    wanted = decoder._run(decoder._start(context), context, tokens)[0, -1]
    with torch.no_grad():
        decoder.query.weight.copy_(torch.eye(32))
        decoder.query.bias.zero_()
        decoder.key.weight.copy_(100 * torch.outer(wanted, values[0, 2]) / values[0, 2].square().sum())
        decoder.key.bias.zero_()
    shares = decoder.attention(prefix, tokens)
    assert shares[0, -1].argmax() == 2


def test_a_decoder_that_does_not_tell_says_so(prefix: Prefix, tokens: Tensor):
    class Mute(Decoder):
        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, prefix: Prefix, tokens: Tensor) -> Tensor:
            raise AssertionError

        def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
            raise AssertionError

    with pytest.raises(NotImplementedError, match="Mute does not tell where it looks"):
        Mute().attention(prefix, tokens)
