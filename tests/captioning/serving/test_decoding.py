"""Lines of different requests on one slab: who shares a step with whom changes nothing but the time."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogiri.captioning.model.conditioning import ConditionLimits
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving import slab
from ogiri.captioning.serving.captioner import Captioner, Writing
from ogiri.captioning.serving.decoding import Decoding
from ogiri.captioning.serving.engine import SMALL_ROWS, Engine, open_session
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.training.export import export_decoder, quantize_decoder
from ogiri.captioning.training.publish import state_entries
from ogiri.record import Label
from tests.captioning.serving.tiny import CHANNELS

LIMITS = ConditionLimits()
MAX_TOKENS = 20


@pytest.fixture(scope="module")
def gpt2(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions

    torch.manual_seed(0)
    dims = GPT2Dimensions(
        tokenizer.vocabulary, CHANNELS, LIMITS.buckets, positions=MAX_TOKENS + 2, width=32, heads=2, layers=2
    )
    decoder = GPT2Decoder(dims).eval()
    with torch.no_grad():
        decoder.transformer.wte.weight *= 30
    path = tmp_path_factory.mktemp("gpt2") / "decoder.onnx"
    export_decoder(decoder, CHANNELS, path)
    return Captioner(Engine(path, state_entries(decoder), threads=1), tokenizer, LIMITS, MAX_TOKENS)


@pytest.fixture(params=["lstm-like", "gpt2"])
def any_captioner(request: pytest.FixtureRequest, captioner: Captioner, gpt2: Captioner) -> Captioner:
    return gpt2 if request.param == "gpt2" else captioner


def requests(captioner: Captioner, maps: np.ndarray, count: int) -> list[Callable[[], Writing]]:
    """All kinds of requests: sampled, greedy, beams, candidates, ranked, with labels and text of any length."""
    rng = random.Random(0)
    kinds: list[dict[str, Any]] = [
        {},
        {"temperature": 0.0},
        {"num_beams": 4, "num_candidates": 2},
        {"num_beams": 8, "ranking": "relevance"},
        {"num_candidates": 5, "temperature": 1.6},
        {"best_of": 9, "ranking": "relevance"},
        {"max_length": 3},
        {"min_length": 12},
    ]
    made = []
    for number in range(count):
        labels = [Label("dog" * rng.randint(1, 3), 90.0) for _ in range(rng.randint(0, 4))]
        known = captioner.conditions(labels, "猫が歩く" * rng.randint(0, 2))
        picture = None if number % 7 == 6 else maps[number % 8][None]
        how = Parameters(seed=number, **kinds[number % len(kinds)])
        made.append(lambda picture=picture, known=known, how=how: captioner.writing(picture, known, how))
    return made


def finish(decoding: Decoding) -> None:
    while decoding.tasks:
        assert all(ended.error is None for ended in decoding.step())


def lines(writing: Writing) -> list[tuple[int, ...]]:
    return [caption.tokens for caption in writing.search.captions()]


def alone(captioner: Captioner, make: Callable[[], Writing]) -> list[tuple[int, ...]]:
    decoding, writing = captioner.decoding(), make()
    decoding.add(writing)
    finish(decoding)
    return lines(writing)


def assert_alike_alone_and_together(captioner: Captioner, maps: np.ndarray, rows: int = 20) -> None:
    """Forty requests of all kinds that come at different steps get the lines that each gets alone.

    Args:
        captioner: that writes them.
        maps: of their pictures.
        rows: more than so many are stepped together at times.
    """
    makers = requests(captioner, maps, 40)
    expected = [alone(captioner, make) for make in makers]
    rng, decoding, writings = random.Random(1), captioner.decoding(), []
    most = 0
    for make in makers:
        writings.append(make())
        decoding.add(writings[-1])
        for _ in range(rng.choice([0, 0, 1, 3])):
            assert all(ended.error is None for ended in decoding.step())
        most = max(most, decoding.rows)
    finish(decoding)
    assert most > rows
    assert [lines(writing) for writing in writings] == expected
    assert decoding.rows == 0


def test_lines_are_what_they_are_alone_whatever_comes_and_goes(
    any_captioner: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    assert_alike_alone_and_together(any_captioner, maps, rows=SMALL_ROWS)
    monkeypatch.setattr(any_captioner.engine, "plenty", slab.MAX_ROWS)
    assert_alike_alone_and_together(any_captioner, maps)


def test_no_line_joins_those_that_are_plenty(any_captioner: Captioner, maps: np.ndarray):
    decoding = any_captioner.decoding()
    for seed in range(3 * SMALL_ROWS):
        decoding.add(any_captioner.writing(maps[:1], any_captioner.conditions([], ""), Parameters(seed=seed)))
    most = 0
    while decoding.tasks:
        decoding.step()
        most = max(most, decoding.rows)
    assert most == SMALL_ROWS


def test_a_task_that_is_dropped_leaves_its_rows_to_others(any_captioner: Captioner, maps: np.ndarray):
    makers = requests(any_captioner, maps, 16)
    expected = [alone(any_captioner, make) for make in makers]
    decoding, writings = any_captioner.decoding(), [make() for make in makers]
    for writing in writings:
        decoding.add(writing)
    decoding.step()
    decoding.step()
    before = decoding.rows
    for writing in writings[::2]:
        decoding.drop(writing)
    assert decoding.rows < before
    assert decoding.tasks <= 8
    finish(decoding)
    assert [lines(writing) for writing in writings[1::2]] == expected[1::2]


def test_more_lines_than_there_is_room_for_wait(
    any_captioner: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slab, "MIN_ROWS", 10)
    monkeypatch.setattr(slab, "MAX_BYTES", 1)
    makers = requests(any_captioner, maps, 24)
    expected = [alone(any_captioner, make) for make in makers]
    decoding, writings, rows = any_captioner.decoding(), [make() for make in makers], []
    for writing in writings:
        decoding.add(writing)
    while decoding.tasks:
        assert all(ended.error is None for ended in decoding.step())
        rows.append(decoding.rows)
    assert 8 <= max(rows) <= 10
    assert [lines(writing) for writing in writings] == expected


@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize("kind", ["lstm", "gpt2"])
def test_a_row_is_the_same_to_the_last_bit_alone_and_beside_any_others(kind: str, bits: int, tmp_path: Path):
    from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions
    from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions

    torch.manual_seed(1)
    decoder = (
        LSTMDecoder(LSTMDimensions(300, CHANNELS, LIMITS.buckets, width=256))
        if kind == "lstm"
        else GPT2Decoder(GPT2Dimensions(300, CHANNELS, LIMITS.buckets, positions=40, width=256, heads=4, layers=3))
    ).eval()
    export_decoder(decoder, CHANNELS, tmp_path / "32.onnx")
    quantize_decoder(tmp_path / "32.onnx", tmp_path / "8.onnx", 256)
    session = open_session(tmp_path / f"{bits}.onnx", threads=1)
    rng = np.random.default_rng(0)

    def prefix(labels: int, text: int) -> dict[str, np.ndarray]:
        return {
            "map": rng.standard_normal((1, 9, CHANNELS)).astype(np.float32),
            "label_pieces": rng.integers(3, 300, (1, labels, 3)),
            "label_confidence": rng.integers(0, LIMITS.buckets, (1, labels)),
            "text_pieces": rng.integers(3, 300, (1, text)),
            "controls": np.zeros((1, 2), np.int64),
        }

    mine, others = prefix(2, 3), [prefix(labels, 16 - labels) for labels in range(8)]
    tokens = rng.integers(3, 300, 12)

    def logits(beside: int) -> list[np.ndarray]:
        rows = slab.Slab(session, state_entries(decoder), CHANNELS, 300, tokens=30, known=31)
        found = [rows.prefill(0, mine, 1)[0].copy()]
        for step, token in enumerate(tokens):
            if 0 < step <= beside:
                rows.prefill(step, others[step - 1], 1)
            found.append(rows.step([token, *rng.integers(3, 300, rows.rows - 1)])[0].copy())
        return found

    alone = logits(0)
    for beside in (1, 2, 3, 7):
        assert all(np.array_equal(one, other) for one, other in zip(logits(beside), alone, strict=True))


def test_memory_is_given_back_by_a_rest(any_captioner: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    makers = requests(any_captioner, maps, 4)
    expected, decoding = [alone(any_captioner, make) for make in makers], any_captioner.decoding()
    for kept, left in ((10**9, True), (0, False), (0, False)):
        monkeypatch.setattr(slab, "KEPT_BYTES", kept)
        writings = [make() for make in makers]
        for writing in writings:
            decoding.add(writing)
        finish(decoding)
        assert [lines(writing) for writing in writings] == expected
        assert decoding._slab._arrays
        decoding.rest()
        assert bool(decoding._slab._arrays) == left


def test_caches_grow_where_a_prefix_is_longer_than_those_before(
    gpt2: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slab, "GROWTH", 1)
    few, many = gpt2.conditions([], ""), gpt2.conditions([Label("dog")] * 9, "猫が歩く" * 9)
    how = Parameters(seed=1, num_candidates=3)
    decoding = gpt2.decoding()
    writings = [gpt2.writing(maps[:1], known, how) for known in (few, many, few)]
    for writing in writings:
        decoding.add(writing)
        decoding.step()
    finish(decoding)
    assert lines(writings[0]) == lines(writings[2]) == [c.tokens for c in gpt2.caption(maps[:1], few, how)]
    assert lines(writings[1]) == [c.tokens for c in gpt2.caption(maps[:1], many, how)]


def test_an_error_of_one_task_ends_it_alone(captioner: Captioner, maps: np.ndarray):
    decoding, known = captioner.decoding(), captioner.conditions((), "")
    good = captioner.writing(maps[:1], known, Parameters(seed=1))
    bad = captioner.writing(maps[:1, :, :2], known, Parameters(seed=1))  # no such channels
    broken = captioner.writing(maps[:1], known, Parameters(seed=1, num_candidates=3, min_length=5))
    for writing in (good, bad, broken):
        decoding.add(writing)
    ended = decoding.step()
    broken.search.advance = lambda logits: 1 / 0
    while decoding.tasks:
        ended += decoding.step()
    assert [one.task for one in ended if one.error] == [bad, broken]
    assert [one.task for one in ended if not one.error] == [good]
    assert lines(good) == [c.tokens for c in captioner.caption(maps[:1], known, Parameters(seed=1))]


def test_an_error_of_a_step_ends_all_that_took_part_and_nothing_after(
    captioner: Captioner, maps: np.ndarray, tmp_path: Path
):
    decoding, known = captioner.decoding(), captioner.conditions((), "")
    first = [captioner.writing(maps[:1], known, Parameters(seed=seed, min_length=9)) for seed in range(3)]
    for writing in first:
        decoding.add(writing)
    decoding.step()
    decoding._running[0].tokens = [10**6]  # the graph has no such row
    ended = decoding.step()
    assert {id(one.task) for one in ended} == {id(writing) for writing in first}
    assert all(one.error is not None for one in ended)
    assert (decoding.tasks, decoding.rows) == (0, 0)
    after = captioner.writing(maps[:1], known, Parameters(seed=1))
    decoding.add(after)
    finish(decoding)
    assert lines(after) == [c.tokens for c in captioner.caption(maps[:1], known, Parameters(seed=1))]
