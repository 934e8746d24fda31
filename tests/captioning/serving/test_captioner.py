from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import stack_conditions
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.parameters import Parameters
from ogiri.parameter import ParameterError
from ogiri.record import Label
from tests.captioning.serving import tiny

LABELS = [Label("dog", 99.0), Label("猫", None)]
SAMPLED = Parameters(seed=7, num_candidates=4, min_length=2, max_length=30)


def recomputed(captioner: Captioner, maps: np.ndarray, caption: Caption) -> float:
    """Mean log-probability of a caption's tokens and its end, in float64."""
    logits, state = captioner.engine.prefill(maps, stack_conditions([captioner.conditions(LABELS, "")]), 1)
    total = 0.0
    for token in (*caption.tokens, captioner.tokenizer.eos):
        row = logits[0].astype(np.float64)
        total += row[token] - row.max() - np.log(np.exp(row - row.max()).sum())
        logits, state = captioner.engine.step(np.array([token]), state)
    return total / (len(caption.tokens) + 1)


@pytest.mark.parametrize(
    "parameters",
    [
        SAMPLED,
        Parameters(temperature=0, num_candidates=3),
        Parameters(num_beams=5, num_candidates=3),
        Parameters(seed=1, num_candidates=16, temperature=2, top_k=0, top_p=1),
    ],
)
def test_captions_are_as_many_as_asked_best_first_with_the_models_own_score(
    captioner: Captioner, maps: np.ndarray, parameters: Parameters
):
    captions = captioner.caption(maps[:1], captioner.conditions(LABELS, ""), parameters)
    assert len(captions) == parameters.num_candidates
    assert captions == sorted(captions, key=lambda caption: -caption.score)
    for caption in captions:
        assert caption.score == round(caption.score, 4)
        assert caption.score == pytest.approx(recomputed(captioner, maps[:1], caption), abs=2e-4)
        assert caption.text == captioner.tokenizer.decode(caption.tokens).strip() != ""


def test_a_seed_fixes_the_lines(captioner: Captioner, maps: np.ndarray):
    known = captioner.conditions(LABELS, "")
    first, again = (captioner.caption(maps[:1], known, SAMPLED) for _ in range(2))
    other = captioner.caption(maps[:1], known, dataclasses.replace(SAMPLED, seed=8))
    assert first == again != other


def test_without_a_seed_lines_differ(captioner: Captioner, maps: np.ndarray):
    known, parameters = captioner.conditions(LABELS, ""), Parameters(temperature=1.5)
    assert len({captioner.caption(maps[:1], known, parameters)[0].tokens for _ in range(5)}) > 1


def test_a_seed_fixes_a_line_whatever_else_is_in_the_batch(captioner: Captioner, maps: np.ndarray):
    known = [captioner.conditions(LABELS[: picture % 3], "猫" * (picture % 2)) for picture in range(8)]
    parameters = [Parameters(seed=picture, num_candidates=1 + picture % 4) for picture in range(8)]
    parameters[5] = Parameters(num_beams=3)
    searches, steps = captioner.begin(maps, [known[0]] * 8, parameters)
    for _ in steps:
        pass
    for picture, search in enumerate(searches):
        alone = captioner.caption(maps[picture : picture + 1], known[0], parameters[picture])
        assert [caption.tokens for caption in search.captions()] == [caption.tokens for caption in alone]


def test_a_candidate_does_not_depend_on_how_many_there_are(captioner: Captioner, maps: np.ndarray):
    known = captioner.conditions(LABELS, "")
    few = captioner.caption(maps[:1], known, dataclasses.replace(SAMPLED, num_candidates=2))
    many = captioner.caption(maps[:1], known, dataclasses.replace(SAMPLED, num_candidates=16))
    assert {caption.tokens for caption in few} <= {caption.tokens for caption in many}


def test_many_pictures_get_what_each_gets_alone(captioner: Captioner, maps: np.ndarray):
    known = [captioner.conditions((), "")] * 8
    for parameters in (SAMPLED, Parameters(temperature=0), Parameters(num_beams=3)):
        together = captioner.captions(maps.astype(np.float16), known, parameters, batch=3)
        assert len(together) == 8
        for picture in (0, 4, 7):
            alone = captioner.caption(maps[picture : picture + 1].astype(np.float16), known[0], parameters)
            assert [c.tokens for c in alone] == [c.tokens for c in together[picture]]


def test_many_pictures_can_be_stopped_between_batches(captioner: Captioner, maps: np.ndarray):
    asked = iter([False, True])
    known = [captioner.conditions((), "")] * 8
    assert len(captioner.captions(maps, known, SAMPLED, batch=2, stopping=lambda: next(asked))) == 2


def test_lengths_and_banned_words_hold(make_captioner: Callable[[int], Captioner], maps: np.ndarray):
    random = np.random.default_rng(0)
    for number in range(40):
        captioner = make_captioner(number % 4)
        low = int(random.integers(1, 40))
        plain = captioner.caption(maps[:1], captioner.conditions((), ""), Parameters(seed=number))[0].text
        banned = tuple({plain[:1], plain[1:3], plain[-2:].upper(), "ば"})
        parameters = Parameters(
            seed=number,
            num_beams=int(random.choice([1, 4])),
            num_candidates=3,
            min_length=low,
            max_length=low + int(random.choice([0, 2, 20])),
            banned_words=banned,
            temperature=float(random.choice([0, 0.9])),
        )
        for caption in captioner.caption(maps[:1], captioner.conditions((), ""), parameters):
            assert low <= len(caption.text) <= parameters.max_length
            assert not any(word.strip() and word.casefold() in caption.text.casefold() for word in banned)


def test_a_minimum_beyond_the_models_tokens_needs_a_decoder_without_a_last_position(
    tokenizer: Tokenizer, captioner: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    asked = Parameters(min_length=60, max_length=61, seed=0)
    captioner.check(asked)
    assert 60 <= len(captioner.caption(maps[:1], captioner.conditions((), ""), asked)[0].text) <= 61
    monkeypatch.setattr(type(captioner.engine), "grows", True)
    with pytest.raises(ParameterError, match=r"min_length is 60.*24 tokens"):
        captioner.check(asked)


def test_the_repetition_penalty_makes_lines_less_repetitive(captioner: Captioner, maps: np.ndarray):
    known = [captioner.conditions((), "")] * 8

    def repeated(penalty: float) -> float:
        lines = captioner.captions(maps, known, Parameters(seed=0, repetition_penalty=penalty, min_length=15))
        return float(np.mean([1 - len(set(line[0].tokens)) / len(line[0].tokens) for line in lines]))

    assert repeated(2.0) < repeated(1.0)


def test_conditions_are_bounded(captioner: Captioner):
    known = captioner.conditions([Label("犬" * 10_000, 99.0)] * 5000, "猫" * 1_000_000)
    assert known.label_pieces.shape == (3, 4)
    assert known.text_pieces.shape == (6,)


def test_a_tokenizer_of_another_training_is_refused(tokenizer: Tokenizer, tmp_path: Path):
    folder = tiny.write_artifact(tmp_path, tokenizer.model, tokenizer.vocabulary + 1)
    with pytest.raises(ValueError, match="not of one training"):
        open_captioner(folder, tiny.manifest(tokenizer.vocabulary))


def test_training_may_open_a_folder_without_encoder(tokenizer: Tokenizer, tmp_path: Path, maps: np.ndarray):
    folder = tiny.write_artifact(tmp_path, tokenizer.model, tokenizer.vocabulary)
    (folder / "encoder.onnx").unlink()
    opened = open_captioner(folder, tiny.manifest(tokenizer.vocabulary), with_encoder=False, threads=1)
    assert opened.caption(maps[:1], opened.conditions((), ""), Parameters(num_beams=2))[0].text
