import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ogiri.captioning.model.controls import LENGTHS, SCORE_LEVELS
from ogiri.captioning.model.decoder import Prefix, greedy
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from tests.captioning.model.decoders import (
    assert_places_alone,
    assert_rows_share_maps,
    assert_same,
    difference,
    steps,
)

VOCABULARY, CHANNELS, CELLS, TIME = 60, 6, 5, 7
BOS, EOS = 1, 2


@pytest.fixture(scope="module", params=[1, 2], ids=["one layer", "two layers"])
def decoder(request: pytest.FixtureRequest) -> LSTMDecoder:
    return make_decoder(layers=request.param)


def make_decoder(**dimensions: int) -> LSTMDecoder:
    """Random weights, larger than those of a new decoder, so that everything shows in the logits."""
    torch.manual_seed(0)
    decoder = LSTMDecoder(LSTMDimensions(VOCABULARY, CHANNELS, buckets=4, width=32, **dimensions)).eval()
    with torch.no_grad():
        for weight in (decoder.embedding.weight, decoder.text_position, decoder.label_confidence.weight):
            weight.mul_(10)
        decoder.control.weight.normal_()
        decoder.bias.normal_(std=0.5)
    return decoder.requires_grad_(False)


def known(
    labels: list[list[list[int]]],
    confidence: list[list[int]],
    text: list[list[int]],
    controls: list[list[int]] | None = None,
    seed: int = 0,
) -> Prefix:
    batch, names = len(labels), len(labels[0])
    return Prefix(
        torch.randn(batch, CELLS, CHANNELS, generator=torch.Generator().manual_seed(seed)),
        torch.tensor(labels, dtype=torch.int64).reshape(batch, names, -1 if names else 0),
        torch.tensor(confidence, dtype=torch.int64),
        torch.tensor(text, dtype=torch.int64),
        torch.tensor(controls or [[0, 0]] * batch, dtype=torch.int64),
    )


@pytest.fixture
def prefix() -> Prefix:
    """Three pictures: two labels, text and both controls, one label and padding, nothing beside the map."""
    return known(
        [[[5, 6, 7], [8, -1, -1]], [[9, 6, -1], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, -1]]],
        [[1, 2], [0, 0], [0, 0]],
        [[10, 11, 12, 13], [14, -1, -1, -1], [-1, -1, -1, -1]],
        [[5, 2], [0, 0], [0, 0]],
    )


@pytest.fixture
def tokens() -> Tensor:
    drawn = torch.randint(3, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(1))
    drawn[:, 0] = BOS
    return drawn


def rows(prefix: Prefix, which: slice) -> Prefix:
    return Prefix(**{name: None if value is None else value[which] for name, value in vars(prefix).items()})


def without(
    prefix: Prefix, *, picture: bool = False, labels: bool = False, text: bool = False, controls: bool = False
) -> Prefix:
    """Parts of it emptied, as the engine does where nothing is known."""
    empty = vars(prefix.emptied())
    names = ["map"] * picture + ["label_pieces", "label_confidence"] * labels + ["text_pieces"] * text
    names += ["controls"] * controls
    return dataclasses.replace(prefix, **{name: empty[name] for name in names})


# --- two forms of one function ---------------------------------------------------------------------------------------


def test_step_by_step_gives_what_all_at_once_gives(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    expected = decoder(prefix, tokens)
    assert expected.shape == (3, TIME, VOCABULARY)
    assert_same(steps(decoder, prefix, tokens), expected)


@pytest.mark.parametrize("part", ["picture", "labels", "text", "controls"])
def test_both_forms_agree_where_a_part_is_missing(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor, part: str):
    less = without(prefix, **{part: True})
    expected = decoder(less, tokens)
    assert_same(steps(decoder, less, tokens), expected)
    assert difference(expected, decoder(prefix, tokens)) > 0.01


def test_a_step_changes_only_what_is_not_constant(decoder: LSTMDecoder, prefix: Prefix):
    _, before = decoder.advance(torch.full((3, 1), BOS), prefix, decoder.initial_state(3))
    _, after = decoder.advance(torch.full((3, 1), 9), prefix.emptied(), before)
    assert [spec.name for spec in decoder.state_specs] == list(before) == list(after)
    for spec in decoder.state_specs:
        assert torch.equal(before[spec.name], after[spec.name]) == spec.constant


def test_no_token_sees_those_after_it(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % VOCABULARY
    one, other = decoder(prefix, tokens), decoder(prefix, changed)
    assert_same(other[:, :4], one[:, :4])
    assert difference(other[:, 4:], one[:, 4:]) > 0.01


def test_several_lines_of_a_prefix_are_what_each_is_alone(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    other = tokens.flip(0)
    both = decoder(prefix, torch.stack([tokens, other], 1).flatten(0, 1), 2)
    assert_same(both[0::2], decoder(prefix, tokens))
    assert_same(both[1::2], decoder(prefix, other))


def test_rows_that_share_a_map_see_what_each_would_see_alone(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    assert_rows_share_maps(decoder, prefix, tokens)


@pytest.mark.parametrize("lines", [1, 2])
def test_logits_can_be_had_of_some_places_alone(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor, lines: int):
    assert_places_alone(decoder, prefix, tokens, lines)


def test_greedy_is_the_best_token_at_each_step(prefix: Prefix):
    decoder = make_decoder()
    decoder.bias[EOS] = decoder.bias.max()
    lines = greedy(decoder, prefix, BOS, EOS, 12)
    assert len({tuple(line) for line in lines}) > 1
    assert min(len(line) for line in lines) < 12
    for row, line in enumerate(lines):
        best = decoder(rows(prefix, slice(row, row + 1)), torch.tensor([[BOS, *line]])).argmax(-1)[0].tolist()
        assert best[: len(line)] == line
        assert len(line) == 12 or best[len(line)] == EOS


# --- padding ---------------------------------------------------------------------------------------------------------


def test_a_row_beside_others_is_what_it_is_alone(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    together = decoder(prefix, tokens)
    label, controls = torch.tensor([[[9, 6]]]), prefix.controls[1:2]
    one = Prefix(prefix.map[1:2], label, torch.tensor([[0]]), torch.tensor([[14]]), controls)
    assert_same(decoder(one, tokens[1:2]), together[1:2])
    nothing = without(rows(prefix, slice(2, 3)), labels=True, text=True)
    assert_same(decoder(nothing, tokens[2:]), together[2:])


def test_padding_of_the_line_changes_nothing_before_it(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    longer = torch.cat([tokens, torch.full((3, 4), EOS)], 1)
    assert_same(decoder(prefix, longer)[:, :TIME], decoder(prefix, tokens))


def test_what_stands_in_the_padding_of_confidences_does_not_matter(
    decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor
):
    other = prefix.label_confidence.clone()
    other[1, 1] = other[2, 0] = 3
    changed = dataclasses.replace(prefix, label_confidence=other)
    assert_same(decoder(changed, tokens), decoder(prefix, tokens))


def test_a_hidden_picture_is_an_empty_map(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    hidden = dataclasses.replace(prefix, picture_known=torch.tensor([True, False, False]))
    found, unseen = decoder(hidden, tokens), decoder(without(prefix, picture=True), tokens)
    assert_same(found[:1], decoder(prefix, tokens)[:1])
    assert_same(found[1:], unseen[1:])


def test_nothing_known_at_all_is_still_a_number(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    found = decoder(prefix.emptied(), tokens)
    assert found.isfinite().all()
    assert_same(steps(decoder, prefix.emptied(), tokens), found)


def test_hiding_everything_leaves_gradients_that_are_numbers(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder().requires_grad_(True)
    hidden = dataclasses.replace(without(prefix, labels=True, text=True), picture_known=torch.zeros(3, dtype=bool))
    decoder(hidden, tokens).logsumexp(-1).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in decoder.parameters())
    recurrent = [module for module in decoder.modules() if isinstance(module, nn.LSTM)]
    assert all(lstm.weight_ih_l0.grad.abs().max() > 0 for lstm in recurrent)


# --- what a line may depend on ---------------------------------------------------------------------------------------


def logits_of(decoder: LSTMDecoder, labels: list[list[int]], confidence: list[int], text: list[int]) -> Tensor:
    return decoder(known([labels], [confidence], [text]), torch.tensor([[BOS, 20]]))


def test_names_of_the_same_pieces_differ(decoder: LSTMDecoder):
    dog, god, cat = (logits_of(decoder, [name], [3], []) for name in ([5, 6, 7], [7, 6, 5], [8, 9, 10]))
    assert difference(dog, god) > 0.2 * difference(dog, cat)


def test_texts_of_the_same_pieces_differ(decoder: LSTMDecoder):
    stop, pots, other = (logits_of(decoder, [], [], text) for text in ([5, 6, 7], [7, 6, 5], [8, 9, 10]))
    assert difference(stop, pots) > 0.05 * difference(stop, other)


def test_the_order_of_labels_does_not_matter(decoder: LSTMDecoder):
    one = logits_of(decoder, [[5, 6], [7, 8]], [3, 1], [])
    assert_same(logits_of(decoder, [[7, 8], [5, 6]], [1, 3], []), one)


def test_every_confidence_makes_a_difference(decoder: LSTMDecoder):
    found = [logits_of(decoder, [[5, 6], [7, 8]], [2, bucket], []) for bucket in range(4)]
    assert all(difference(found[i], found[j]) > 0.01 for i in range(4) for j in range(i))


def test_a_sure_label_weighs_more_than_an_unsure_one():
    decoder = make_decoder()
    decoder.label_confidence.weight.zero_()  # what is left is the weight in the sum

    def context(*labels: tuple[list[int], int]) -> Tensor:
        prefix = known([[name for name, _ in labels]], [[bucket for _, bucket in labels]], [[]])
        _, state = decoder.advance(torch.tensor([[BOS]]), without(prefix, picture=True), decoder.initial_state(1))
        return state["context"]

    alone = context(([5], 3))
    assert difference(context(([5], 3), ([9], 1)), alone) < 0.8 * difference(context(([5], 3), ([9], 3)), alone)


def test_every_cell_of_the_map_is_seen(decoder: LSTMDecoder, prefix: Prefix, tokens: Tensor):
    for cell in range(CELLS):
        changed = dataclasses.replace(prefix, map=prefix.map.clone())
        changed.map[:, cell] += 1
        assert difference(decoder(changed, tokens), decoder(prefix, tokens)) > 0.001


def asked(decoder: LSTMDecoder, *controls: int) -> Tensor:
    """Logits beside one picture whose line is asked to be of these levels."""
    return decoder(known([[]], [[]], [[]], [list(controls)]), torch.tensor([[BOS, 20]]))


def test_every_level_of_score_and_length_makes_a_difference(decoder: LSTMDecoder):
    levels = [(score, 0) for score in range(SCORE_LEVELS + 1)] + [(0, 1 + LENGTHS.index(name)) for name in LENGTHS]
    found = [asked(decoder, *level) for level in levels]
    assert all(difference(found[i], found[j]) > 0.01 for i in range(len(found)) for j in range(i))
    assert difference(asked(decoder, 2, 3), asked(decoder, 3, 2)) > 0.01


def test_a_control_adds_to_the_other(decoder: LSTMDecoder, tokens: Tensor):
    def context(*controls: int) -> Tensor:
        prefix = known([[]], [[]], [[]], [list(controls)])
        return decoder.advance(tokens[:1, :1], prefix, decoder.initial_state(1))[1]["context"]

    assert_same(context(4, 3) - context(4, 0), context(0, 3) - context(0, 0))


def test_controls_are_kept_from_prefill_and_not_added_again(decoder: LSTMDecoder):
    _, before = decoder.advance(torch.tensor([[BOS]]), known([[]], [[]], [[]], [[4, 1]]), decoder.initial_state(1))
    _, after = decoder.advance(torch.tensor([[20]]), known([[]], [[]], [[]]).emptied(), before)
    assert torch.equal(after["context"], before["context"])


def test_before_training_nothing_comes_of_what_is_asked_for():
    torch.manual_seed(0)
    decoder = LSTMDecoder(LSTMDimensions(VOCABULARY, CHANNELS, buckets=4, width=32)).eval()
    assert torch.equal(asked(decoder, 5, 1), asked(decoder, 0, 0))


# --- the start -------------------------------------------------------------------------------------------------------


def test_the_loss_at_the_start_is_that_of_a_guess():
    torch.manual_seed(0)
    vocabulary = 8000
    decoder = LSTMDecoder(LSTMDimensions(vocabulary, CHANNELS, buckets=4, width=512)).eval()
    tokens = torch.randint(0, vocabulary, (8, 12))
    with torch.no_grad():
        logits = decoder(known([[[5]]] * 8, [[1]] * 8, [[7]] * 8), tokens)
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(vocabulary), rel=0.03)


def test_a_decoder_that_sees_nothing_yet_may_start_from_frequencies(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder()
    frequencies = torch.rand(VOCABULARY).softmax(0)
    decoder.start_from(frequencies)
    decoder.merge.weight.zero_()
    decoder.merge.bias.zero_()
    torch.testing.assert_close(decoder(prefix, tokens)[1, 3].softmax(0), frequencies)


def test_gradients_reach_every_weight(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder(layers=2, max_label_pieces=3, max_text_pieces=4).requires_grad_(True)
    sure = dataclasses.replace(prefix, label_confidence=torch.tensor([[1, 2], [3, 0], [0, 0]]))
    functional.cross_entropy(decoder(sure, tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    without_gradient = [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without_gradient == []


def test_dropout_is_only_for_training(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder()
    assert torch.equal(decoder(prefix, tokens), decoder(prefix, tokens))
    decoder.train()
    assert not torch.equal(decoder(prefix, tokens), decoder(prefix, tokens))
