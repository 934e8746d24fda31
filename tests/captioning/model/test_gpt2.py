from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from ogiri.captioning.model.controls import LEVELS
from ogiri.captioning.model.decoder import Prefix, greedy
from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions, weight_shapes
from tests.captioning.model.decoders import (
    assert_places_alone,
    assert_rows_share_maps,
    assert_same,
    difference,
    steps,
)

VOCABULARY, CHANNELS, CELLS, TIME = 60, 6, 5, 7
LABELS, TEXT, CONTROLS = 2, 4, 2
BOS, EOS = 1, 2


def make_decoder(**dimensions: float) -> GPT2Decoder:
    """Random weights, larger than those of a new decoder, so that everything shows in the logits."""
    torch.manual_seed(0)
    sizes = {"positions": 12, "width": 32, "heads": 4, "layers": 2, **dimensions}
    decoder = GPT2Decoder(GPT2Dimensions(VOCABULARY, CHANNELS, buckets=4, **sizes)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(std=0.3) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
        decoder.label_position.normal_(mean=1.0, std=0.5)
    return decoder.requires_grad_(False)


@pytest.fixture(scope="module")
def decoder() -> GPT2Decoder:
    return make_decoder()


def known(
    labels: list[list[list[int]]], confidence: list[list[int]], text: list[list[int]], controls: list[list[int]]
) -> Prefix:
    batch, names = len(labels), len(labels[0])
    return Prefix(
        torch.randn(batch, CELLS, CHANNELS, generator=torch.Generator().manual_seed(0)),
        torch.tensor(labels, dtype=torch.int64).reshape(batch, names, -1 if names else 0),
        torch.tensor(confidence, dtype=torch.int64),
        torch.tensor(text, dtype=torch.int64),
        torch.tensor(controls, dtype=torch.int64),
    )


@pytest.fixture
def prefix() -> Prefix:
    """Three pictures: two labels and text, one label and padding, nothing beside the map."""
    return known(
        [[[5, 6, 7], [8, -1, -1]], [[9, 6, -1], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, -1]]],
        [[1, 2], [0, 0], [0, 0]],
        [[10, 11, 12, 13], [14, -1, -1, -1], [-1, -1, -1, -1]],
        [[1, 0], [0, 3], [0, 0]],
    )


@pytest.fixture
def tokens() -> Tensor:
    drawn = torch.randint(3, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(1))
    drawn[:, 0] = BOS
    return drawn


def rows(prefix: Prefix, which: slice | list[int]) -> Prefix:
    return Prefix(**{name: None if value is None else value[which] for name, value in vars(prefix).items()})


def without(prefix: Prefix, *parts: str) -> Prefix:
    """Parts of it emptied, as the engine does where nothing is known."""
    empty = vars(prefix.emptied())
    fields = {"picture": ["map"], "labels": ["label_pieces", "label_confidence"], "text": ["text_pieces"]}
    return dataclasses.replace(prefix, **{name: empty[name] for part in parts for name in fields[part]})


# --- transformers' own GPT-2 -----------------------------------------------------------------------------------------


def published(decoder: GPT2Decoder) -> GPT2LMHeadModel:
    """`transformers`' model with the weights of this decoder."""
    config = decoder.transformer.config
    config._attn_implementation = "eager"
    model = GPT2LMHeadModel(config).eval()
    model.transformer.load_state_dict(decoder.transformer.state_dict())
    assert model.lm_head.weight is model.transformer.wte.weight
    return model


def test_without_a_prefix_it_is_the_published_model(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    with torch.no_grad():
        expected = published(decoder)(tokens).logits
    assert expected.std() > 0.5
    assert_same(decoder(prefix.emptied(), tokens), expected)


@pytest.mark.parametrize("hidden", [False, True], ids=["picture", "picture hidden"])
def test_with_a_prefix_it_is_the_published_model_over_these_embeddings(
    decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor, hidden: bool
):
    if hidden:
        prefix = dataclasses.replace(prefix, picture_known=torch.tensor([True, False, True]))
    slots, scores = decoder._slots(prefix)
    assert slots.shape == (3, CELLS + LABELS + TEXT + CONTROLS, 32)
    model = published(decoder)
    places = torch.cat([torch.zeros(slots.shape[1], dtype=torch.int64), torch.arange(TIME)])
    without_position = slots - model.transformer.wpe.weight[0]  # it adds one to every slot, we to those of the line
    with torch.no_grad():
        found = model(
            inputs_embeds=torch.cat([without_position, model.transformer.wte(tokens)], 1),
            attention_mask=torch.cat([scores == 0, torch.ones_like(tokens, dtype=torch.bool)], 1),
            position_ids=places.expand(3, -1),
            output_attentions=True,
        )
    assert_same(decoder(prefix, tokens), found.logits[:, slots.shape[1] :])
    seen = torch.stack(found.attentions).mean((0, 2))[:, slots.shape[1] :]
    rest = seen[..., slots.shape[1] :].sum(-1, keepdim=True)
    assert_same(decoder.attention(prefix, tokens), torch.cat([seen[..., : slots.shape[1]], rest], -1))


def test_weights_of_a_published_model_are_taken_over(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    torch.manual_seed(1)
    new = GPT2Decoder(decoder.dims).eval()
    assert new.pretrained_parameters() == []
    new.load_language_model(decoder.transformer.state_dict())
    assert_same(new(prefix.emptied(), tokens), decoder(prefix.emptied(), tokens))
    assert {id(p) for p in new.pretrained_parameters()} == {id(p) for p in new.transformer.parameters()}
    size = decoder.transformer.wte.weight.square().mean().sqrt().item()
    assert size == pytest.approx(0.3, rel=0.1)
    assert new.cell_norm.weight.tolist() == pytest.approx([size] * 32)
    slots, hidden = new._slots(prefix)
    assert slots[hidden == 0].square().mean().sqrt().item() == pytest.approx(1.5 * size, rel=0.3)


def test_shapes_are_known_without_making_the_weights(decoder: GPT2Decoder):
    found = weight_shapes(decoder.transformer.config)
    assert found == {name: tuple(value.shape) for name, value in decoder.transformer.state_dict().items()}


# --- two forms of one function ---------------------------------------------------------------------------------------


def test_step_by_step_gives_what_all_at_once_gives(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    expected = decoder(prefix, tokens)
    assert expected.shape == (3, TIME, VOCABULARY)
    assert_same(steps(decoder, prefix, tokens), expected)


@pytest.mark.parametrize("parts", [["picture"], ["labels"], ["text"], ["picture", "labels", "text"]], ids="+".join)
def test_both_forms_agree_where_a_part_is_missing(
    decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor, parts: list[str]
):
    less = without(prefix, *parts)
    expected = decoder(less, tokens)
    assert_same(steps(decoder, less, tokens), expected)
    assert difference(expected, decoder(prefix, tokens)) > 0.01


def test_the_caches_grow_by_what_is_known_and_then_by_a_token(decoder: GPT2Decoder, prefix: Prefix):
    _, before = decoder.advance(torch.full((3, 1), BOS), prefix, decoder.initial_state(3))
    _, after = decoder.advance(torch.full((3, 1), 9), prefix.emptied(), before)
    assert [spec.name for spec in decoder.state_specs] == list(before) == list(after)
    known = (prefix.text_pieces >= 0).sum(1) + (prefix.label_pieces[:, :, 0] >= 0).sum(1)
    assert before["past"].tolist() == (known + prefix.map.shape[1] + prefix.controls.shape[1] + 1).tolist()
    assert len(set(before["past"].tolist())) > 1  # or nothing was padded
    assert after["past"].tolist() == (before["past"] + 1).tolist()
    assert (before["position"].tolist(), after["position"].tolist()) == ([1] * 3, [2] * 3)
    for name in ("keys.0", "values.0"):
        assert after[name].shape[2] == before[name].shape[2] + 1 == before["past"].max() + 1
        for row, past in enumerate(before["past"].tolist()):
            assert torch.equal(after[name][row, :, :past], before[name][row, :, :past])
            assert after[name][row, :, past].abs().sum() > 0


def test_rows_at_different_steps_go_side_by_side(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    begin = torch.full((3, 1), BOS)
    _, late = decoder.advance(begin, prefix, decoder.initial_state(3))
    logits, early = decoder.advance(tokens[:, 1:2], prefix.emptied(), late)
    both = {
        name: torch.cat(
            [functional.pad(late[name], (0, 0, 0, 1)) if late[name].dim() == 4 else late[name], early[name]]
        )
        for name in late
    }
    found, _ = decoder.advance(tokens[:, [1, 2]].T.reshape(6, 1), rows(prefix.emptied(), [0, 1, 2] * 2), both)
    assert_same(found[:3], logits)
    assert_same(found[3:], decoder.advance(tokens[:, 2:3], prefix.emptied(), early)[0])


def test_no_token_sees_those_after_it(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % VOCABULARY
    one, other = decoder(prefix, tokens), decoder(prefix, changed)
    assert_same(other[:, :4], one[:, :4])
    assert difference(other[:, 4:], one[:, 4:]) > 0.01


def test_several_lines_of_a_prefix_are_what_each_is_alone(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    other = tokens.flip(0)
    both = decoder(prefix, torch.stack([tokens, other], 1).flatten(0, 1), 2)
    assert_same(both[0::2], decoder(prefix, tokens))
    assert_same(both[1::2], decoder(prefix, other))


def test_rows_that_share_a_map_see_what_each_would_see_alone(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    assert_rows_share_maps(decoder, prefix, tokens)


@pytest.mark.parametrize("lines", [1, 2])
def test_logits_can_be_had_of_some_places_alone(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor, lines: int):
    assert_places_alone(decoder, prefix, tokens, lines)


def test_greedy_is_the_best_token_at_each_step(decoder: GPT2Decoder, prefix: Prefix):
    lines = greedy(decoder, prefix, BOS, EOS, 9)
    assert len({tuple(line) for line in lines}) > 1
    for row, line in enumerate(lines):
        best = decoder(rows(prefix, slice(row, row + 1)), torch.tensor([[BOS, *line]])).argmax(-1)[0].tolist()
        assert best[: len(line)] == line


# --- padding ---------------------------------------------------------------------------------------------------------


def test_a_row_beside_others_is_what_it_is_alone(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    together = decoder(prefix, tokens)
    one = dataclasses.replace(
        rows(prefix, slice(1, 2)),
        label_pieces=torch.tensor([[[9, 6]]]),
        label_confidence=torch.tensor([[0]]),
        text_pieces=torch.tensor([[14]]),
    )
    assert_same(decoder(one, tokens[1:2]), together[1:2])
    assert_same(steps(decoder, one, tokens[1:2]), together[1:2])
    nothing = without(rows(prefix, slice(2, 3)), "labels", "text")
    assert_same(decoder(nothing, tokens[2:]), together[2:])
    assert_same(steps(decoder, nothing, tokens[2:]), together[2:])


def test_padding_of_the_line_changes_nothing_before_it(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    longer = torch.cat([tokens, torch.full((3, 4), EOS)], 1)
    assert_same(decoder(prefix, longer)[:, :TIME], decoder(prefix, tokens))


def test_what_stands_in_padding_does_not_matter(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    confidence = prefix.label_confidence.clone()
    confidence[1, 1] = confidence[2, 0] = 3
    assert_same(decoder(dataclasses.replace(prefix, label_confidence=confidence), tokens), decoder(prefix, tokens))
    hidden = dataclasses.replace(prefix, picture_known=torch.tensor([True, True, False]))
    other = dataclasses.replace(hidden, map=hidden.map.clone())
    other.map[2] += 9
    assert torch.equal(decoder(other, tokens), decoder(hidden, tokens))


def test_a_hidden_picture_is_an_empty_map(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    hidden = dataclasses.replace(prefix, picture_known=torch.tensor([True, False, False]))
    found, unseen = decoder(hidden, tokens), decoder(without(prefix, "picture"), tokens)
    assert_same(found[:1], decoder(prefix, tokens)[:1])
    assert_same(found[1:], unseen[1:])


def test_hiding_everything_leaves_gradients_that_are_numbers(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder().requires_grad_(True)
    hidden = dataclasses.replace(without(prefix, "labels", "text"), picture_known=torch.zeros(3, dtype=torch.bool))
    decoder(hidden, tokens).logsumexp(-1).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in decoder.parameters())


# --- what a line may depend on ---------------------------------------------------------------------------------------


def logits_of(
    decoder: GPT2Decoder, labels: list[list[int]], confidence: list[int], text: list[int], controls: list[int]
) -> Tensor:
    return decoder(known([labels], [confidence], [text], [controls]), torch.tensor([[BOS, 20]]))


def test_names_of_the_same_pieces_differ(decoder: GPT2Decoder):
    dog, god, cat = (logits_of(decoder, [name], [3], [], [0, 0]) for name in ([5, 6, 7], [7, 6, 5], [8, 9, 10]))
    assert difference(dog, god) > 0.1 * difference(dog, cat)


def test_texts_of_the_same_pieces_differ(decoder: GPT2Decoder):
    stop, pots, other = (logits_of(decoder, [], [], text, [0, 0]) for text in ([5, 6, 7], [7, 6, 5], [8, 9, 10]))
    assert difference(stop, pots) > 0.1 * difference(stop, other)


def test_every_confidence_makes_a_difference(decoder: GPT2Decoder):
    found = [logits_of(decoder, [[5, 6], [7, 8]], [2, bucket], [], [0, 0]) for bucket in range(4)]
    assert all(difference(found[i], found[j]) > 0.01 for i in range(4) for j in range(i))


def test_every_level_of_every_control_makes_a_difference(decoder: GPT2Decoder):
    asked = [[level, 0] for level in range(LEVELS[0] + 1)] + [[0, level] for level in range(1, LEVELS[1] + 1)]
    found = [logits_of(decoder, [], [], [], controls) for controls in asked]
    assert all(difference(found[i], found[j]) > 0.01 for i in range(len(found)) for j in range(i))


def test_levels_of_a_score_are_no_levels_of_a_length(decoder: GPT2Decoder):
    other = make_decoder()
    other.control.weight[1 : LEVELS[0] + 1] *= -1
    for controls, same in (([0, 1], True), ([0, 3], True), ([1, 0], False), ([5, 0], False)):
        pair = [logits_of(each, [], [], [], controls) for each in (decoder, other)]
        assert (difference(*pair) < 1e-5) == same


def test_every_cell_of_the_map_is_seen(decoder: GPT2Decoder, prefix: Prefix, tokens: Tensor):
    for cell in range(CELLS):
        changed = dataclasses.replace(prefix, map=prefix.map.clone())
        changed.map[:, cell] = changed.map[:, cell].flip(-1)
        assert difference(decoder(changed, tokens), decoder(prefix, tokens)) > 0.001


# --- the start -------------------------------------------------------------------------------------------------------


def test_the_loss_at_the_start_is_that_of_a_guess():
    torch.manual_seed(0)
    vocabulary = 8000
    decoder = GPT2Decoder(GPT2Dimensions(vocabulary, CHANNELS, buckets=4, positions=16, layers=2)).eval()
    tokens = torch.randint(0, vocabulary, (8, 12))
    with torch.no_grad():
        logits = decoder(known([[[5]]] * 8, [[1]] * 8, [[7]] * 8, [[0, 0]] * 8), tokens)
    loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(vocabulary), rel=0.03)


def test_gradients_reach_every_weight(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder(positions=TIME, max_label_pieces=3, max_text_pieces=4).requires_grad_(True)
    every = dataclasses.replace(prefix, label_confidence=torch.tensor([[1, 2], [3, 0], [0, 0]]))
    functional.cross_entropy(decoder(every, tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    without_gradient = [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert without_gradient == []


def test_dropout_is_only_for_training(prefix: Prefix, tokens: Tensor):
    decoder = make_decoder()
    assert torch.equal(decoder(prefix, tokens), decoder(prefix, tokens))
    decoder.train()
    assert not torch.equal(decoder(prefix, tokens), decoder(prefix, tokens))
