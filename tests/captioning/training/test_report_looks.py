import numpy as np
import pytest
import torch

from ogiri.captioning.model.conditioning import encode_conditions
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.training.report_looks import grid, look
from ogiri.record import Label
from tests.captioning.training.small import CELLS, CHANNELS, Job

LABELS = [Label("犬", 90.0), Label(" "), Label("Object")]


@pytest.fixture(scope="module")
def decoder(trained: Job) -> Decoder:
    return trained.run()[0].decoder


def looked(trained: Job, decoder: Decoder, line: list[int], text: str = "止まれ", cells: int = CELLS):
    dataset = trained.dataset
    conditions = encode_conditions(LABELS, text, dataset.tokenizer, dataset.limits)
    map_ = np.random.default_rng(0).standard_normal((cells, CHANNELS)).astype(np.float16)
    return look(decoder, dataset.tokenizer, map_, conditions, LABELS, line)


def test_every_piece_and_the_end_have_shares_that_add_up_to_one(trained: Job, decoder: Decoder):
    line = trained.dataset.tokenizer.encode("犬が逃げた！")
    found = looked(trained, decoder, line)
    assert "".join(glance.piece for glance in found) == "犬が逃げた！"
    assert found[-1].piece == ""
    for glance in found:
        assert glance.picture + glance.labels + glance.text + glance.controls + glance.rest == pytest.approx(1)
        assert glance.controls == 0
        assert glance.label in ("犬", "Object")
    without = looked(trained, decoder, line, text="")
    assert all(glance.text == 0 for glance in without)
    assert any(glance.text > 0 for glance in found)


def test_the_shares_are_those_of_the_decoder(trained: Job, decoder: Decoder):
    class Told(type(decoder)):  # type: ignore[misc]
        def attention(self, prefix, tokens):
            assert tokens[0, 0] == trained.dataset.tokenizer.bos
            shares = torch.zeros(1, tokens.shape[1], CELLS + 2 + prefix.text_pieces.shape[1] + 2 + 1)
            shares[0, :, 1] = 0.5  # a cell
            shares[0, :, CELLS + 1] = 0.25  # the second label
            shares[0, :, -2] = 0.125  # a control
            shares[0, :, -1] = 0.125
            return shares

    told = Told(decoder.dims)
    first, *_ = looked(trained, told, trained.dataset.tokenizer.encode("犬"))
    assert (first.picture, first.labels, first.text, first.controls, first.rest) == (0.5, 0.25, 0, 0.125, 0.125)
    assert first.label == "Object"


def test_a_character_that_is_spelled_in_bytes_is_one_piece(trained: Job, decoder: Decoder):
    tokenizer = trained.dataset.tokenizer
    line = tokenizer.encode("犬𠮷")
    assert len(line) > 4
    assert [glance.piece for glance in looked(trained, decoder, line)][-2:] == ["𠮷", ""]
    cut_off = [glance.piece for glance in looked(trained, decoder, line[:-1])]
    assert cut_off[-2] == "\ufffd"


def test_cells_are_laid_out_as_rows():
    assert grid(np.arange(4.0)) == [[0.0, 1.0], [2.0, 3.0]]
    assert grid(np.arange(5.0)) == [[1.0, 2.0], [3.0, 4.0]]  # a vision transformer's class token comes first
    for cells in (0, 1, 2, 3, 6):
        assert grid(np.arange(float(cells))) == []


def test_a_decoder_that_does_not_tell_is_passed_on(trained: Job, decoder: Decoder):
    class Mute(type(decoder)):  # type: ignore[misc]
        attention = Decoder.attention

    with pytest.raises(NotImplementedError):
        looked(trained, Mute(decoder.dims), [5])
