from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.controls import LENGTHS, control_array
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving import search
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.ranking import RANKINGS, RELEVANCE_WEIGHT, best, length_debiased
from ogiri.captioning.serving.search import Search
from ogiri.parameter import ParameterError
from ogiri.record import Label
from tests.captioning.serving import tiny

LABELS = [Label("dog", 99.0), Label("猫", None)]
SAMPLED = Parameters(seed=7, num_candidates=4, min_length=2, max_length=30)


def mean_log_probability(captioner: Captioner, maps: np.ndarray | None, known: Conditions, caption: Caption) -> float:
    """Of a caption's tokens and its end, in float64."""
    logits, state = captioner.engine.prefill(maps, stack_conditions([known]), 1)
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
    known = captioner.conditions(LABELS, "")
    captions = captioner.caption(maps[:1], known, parameters)
    assert len(captions) == parameters.num_candidates
    assert captions == sorted(captions, key=lambda caption: -caption.score)
    for caption in captions:
        assert caption.score == round(caption.score, 4)
        assert caption.score == pytest.approx(mean_log_probability(captioner, maps[:1], known, caption), abs=2e-4)
        assert caption.text == captioner.tokenizer.decode(caption.tokens).strip() != ""


def together(
    captioner: Captioner, maps: np.ndarray, known: Sequence[Conditions], parameters: Sequence[Parameters]
) -> list[Search]:
    """The searches of several pictures that come one after the other, two steps apart."""
    decoding, writings, late = captioner.decoding(), [], []
    for picture, how in enumerate(parameters):
        writings.append(captioner.writing(maps[picture : picture + 1], known[picture], how))
        decoding.add(writings[-1])
        late += [decoding.rows for _ in range(2) if not decoding.step()]
    while decoding.tasks:
        assert all(ended.error is None for ended in decoding.step())
    assert max(late) > 1  # or none met another
    return [writing.search for writing in writings]


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
    for picture, one in enumerate(together(captioner, maps, known, parameters)):
        alone = captioner.caption(maps[picture : picture + 1], known[picture], parameters[picture])
        assert [caption.tokens for caption in one.captions()] == [caption.tokens for caption in alone]


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


def test_many_pictures_can_be_stopped(captioner: Captioner, maps: np.ndarray):
    asked = itertools.chain([False] * 3, itertools.repeat(True))
    known = [captioner.conditions((), "")] * 8
    assert len(captioner.captions(maps, known, SAMPLED, batch=2, stopping=lambda: next(asked))) == 3


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


@pytest.fixture(scope="module")
def strict(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    """A captioner whose artifact has a list of banned words."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "list.txt").write_text("犬\nＶ\n", encoding="utf-8")
    tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary, banned_words="list.txt")
    return open_captioner(folder, tiny.manifest(tokenizer.vocabulary, banned_words="list.txt"), threads=1)


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("banned", [(), ("ば",)])
def test_the_artifacts_banned_words_are_never_written_whatever_a_request_bans(
    strict: Captioner, captioner: Captioner, maps: np.ndarray, num_beams: int, banned: tuple[str, ...]
):
    wild = Parameters(seed=1, num_candidates=4, num_beams=num_beams, temperature=2, top_k=0, top_p=1, min_length=10)
    asked = dataclasses.replace(wild, banned_words=banned)
    known = [captioner.conditions((), "")] * len(maps)

    def written(by: Captioner) -> str:
        return "\n".join(caption.text for some in by.captions(maps, known, asked) for caption in some).casefold()

    always = ("犬", "v")
    assert any(word in written(captioner) for word in always)  # or this would show nothing
    found = written(strict)
    assert not any(word in found for word in (*always, *banned))


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


# --- ranking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"seed": 7, "temperature": 2, "max_length": 9}, {"num_beams": 8}])
def test_relevance_orders_by_likelihood_beside_the_picture_less_that_without(
    captioner: Captioner, maps: np.ndarray, how: dict[str, Any]
):
    known, nothing = captioner.conditions(LABELS, "猫"), captioner.conditions((), "")
    otherwise = 0
    for picture in np.split(maps, 8):
        found = captioner.caption(picture, known, Parameters(ranking="relevance", num_candidates=8, **how))
        ranks = [
            mean_log_probability(captioner, picture, known, caption)
            - RELEVANCE_WEIGHT * mean_log_probability(captioner, None, nothing, caption)
            for caption in found
        ]
        assert ranks == sorted(ranks, reverse=True)
        otherwise += found != sorted(found, key=lambda caption: -caption.score)
    assert otherwise > 2


def test_a_ranking_changes_no_line_and_no_score(captioner: Captioner, maps: np.ndarray):
    known, orders = captioner.conditions(LABELS, ""), []
    for ranking in RANKINGS:
        parameters = dataclasses.replace(SAMPLED, num_candidates=16, temperature=2, max_length=9, ranking=ranking)
        orders.append([captioner.caption(picture, known, parameters) for picture in np.split(maps, 8)])
    assert orders[0] != orders[1] != orders[2] != orders[0]
    for found in zip(*orders, strict=True):
        assert len({frozenset(order) for order in found}) == 1


@pytest.mark.parametrize("ranking", RANKINGS)
def test_the_best_of_many_come_back(captioner: Captioner, maps: np.ndarray, ranking: str):
    known = captioner.conditions(LABELS, "")
    many = dataclasses.replace(SAMPLED, num_candidates=16, ranking=ranking)
    few = dataclasses.replace(many, num_candidates=3, best_of=16)
    written = captioner.caption(maps[:1], known, many)
    assert len({caption.text for caption in written}) == 16
    assert captioner.caption(maps[:1], known, few) == written[:3]


def test_beams_choose_among_their_best_lines_by_the_ranking(captioner: Captioner, maps: np.ndarray):
    known, otherwise = [captioner.conditions(LABELS, "")] * 8, 0
    beams = Parameters(num_beams=8, num_candidates=8, max_length=9)
    everything = captioner.captions(maps, known, beams)
    plain = captioner.captions(maps, known, dataclasses.replace(beams, num_candidates=2))
    debiased = captioner.captions(maps, known, dataclasses.replace(beams, num_candidates=2, ranking="length_debiased"))
    for found, usual, pool in zip(debiased, plain, everything, strict=True):
        assert found == best(pool, 2, length_debiased)
        otherwise += set(found) != set(usual)
    assert otherwise


@pytest.mark.parametrize("ranking", RANKINGS)
def test_a_ranking_does_not_depend_on_what_else_is_in_the_batch(captioner: Captioner, maps: np.ndarray, ranking: str):
    known = [captioner.conditions((), "")] * 8
    parameters = [
        Parameters(seed=picture, num_candidates=1 + picture % 3, best_of=4 + picture, ranking=ranking)
        for picture in range(8)
    ]
    parameters[3] = Parameters(num_beams=4, num_candidates=2, ranking=RANKINGS[1])
    parameters[4] = Parameters(seed=1, ranking=RANKINGS[1])
    for picture, one in enumerate(together(captioner, maps, known, parameters)):
        alone = captioner.caption(maps[picture : picture + 1], known[0], parameters[picture])
        assert [caption.tokens for caption in one.captions()] == [caption.tokens for caption in alone]


def test_a_single_line_is_not_rescored(captioner: Captioner, maps: np.ndarray):
    known = captioner.conditions((), "")

    def steps(**how: Any) -> int:
        decoding = captioner.decoding()
        decoding.add(captioner.writing(maps[:1], known, Parameters(seed=0, **how)))
        while decoding.tasks:
            decoding.step()
        return decoding.steps

    assert steps(ranking="relevance") == steps()
    assert steps(ranking="relevance", num_candidates=2) > steps(num_candidates=2)


# --- equal candidates ------------------------------------------------------------------------------------------------

PEAKED = Parameters(seed=3, num_candidates=8, temperature=2, max_length=4)


def texts(captioner: Captioner, maps: np.ndarray, parameters: Parameters) -> Counter[str]:
    captions = captioner.caption(maps, captioner.conditions((), ""), parameters)
    assert len(captions) == parameters.num_candidates
    return Counter(caption.text for caption in captions)


@pytest.mark.parametrize("seed", range(4))
def test_candidates_that_come_out_equal_are_written_anew(
    captioner: Captioner, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch, seed: int
):
    parameters = dataclasses.replace(PEAKED, seed=seed)
    anew = texts(captioner, maps[:1], parameters)
    monkeypatch.setattr(search, "REDRAWS", 0)
    once = texts(captioner, maps[:1], parameters)
    assert len(once) < 8
    assert len(anew) > len(once)
    assert set(once) < set(anew)  # the first of equal ones stays


@pytest.mark.parametrize("seed", range(4))
def test_a_candidate_that_is_written_anew_does_not_depend_on_those_after_it(
    captioner: Captioner, maps: np.ndarray, seed: int
):
    parameters = [dataclasses.replace(PEAKED, max_length=2, seed=seed, num_candidates=count) for count in range(1, 17)]
    found = [texts(captioner, maps[:1], each) for each in parameters]
    assert max(found[-1].values()) > 1  # some are still equal
    for fewer, more in itertools.pairwise(found):
        assert fewer <= more


def test_what_is_written_anew_does_not_depend_on_what_else_is_in_the_batch(captioner: Captioner, maps: np.ndarray):
    known = [captioner.conditions((), "")] * 8
    parameters = [
        dataclasses.replace(PEAKED, seed=picture, num_candidates=1 + 2 * picture, ranking=RANKINGS[picture % 3])
        for picture in range(8)
    ]
    for picture, one in enumerate(together(captioner, maps, known, parameters)):
        alone = captioner.caption(maps[picture : picture + 1], known[0], parameters[picture])
        assert [caption.tokens for caption in one.captions()] == [caption.tokens for caption in alone]


def test_equal_lines_come_back_where_there_are_no_others(captioner: Captioner, maps: np.ndarray):
    assert set(texts(captioner, maps[:1], dataclasses.replace(PEAKED, temperature=1e-4)).values()) == {8}


# --- controls --------------------------------------------------------------------------------------------------------


def test_what_is_asked_for_goes_into_the_line(captioner: Captioner, maps: np.ndarray):
    known = captioner.conditions(LABELS, "")
    asked = [{}, *({"score": score} for score in range(5)), *({"length": length} for length in LENGTHS)]
    asked.append({"score": 1, "length": "long"})
    for how in asked:
        (caption,) = captioner.caption(maps[:1], known, Parameters(temperature=0, **how))
        controlled = dataclasses.replace(known, controls=control_array(**how))
        assert caption.score == pytest.approx(mean_log_probability(captioner, maps[:1], controlled, caption), abs=2e-4)
    scores = {captioner.caption(maps[:1], known, Parameters(temperature=0, **how))[0].score for how in asked}
    assert len(scores) == len(asked)


def test_each_line_of_a_batch_gets_what_is_asked_of_it(captioner: Captioner, maps: np.ndarray):
    known, parameters = captioner.conditions(LABELS, ""), [Parameters(seed=0, score=score) for score in (None, 0, 4)]
    searches = together(captioner, np.repeat(maps[:1], 3, axis=0), [known] * 3, parameters)
    alone = [captioner.caption(maps[:1], known, each) for each in parameters]
    assert [[c.tokens for c in one.captions()] for one in searches] == [[c.tokens for c in one] for one in alone]


@pytest.mark.parametrize(
    ("learned", "missing"), [({"length": [6.0, 12.0]}, "score"), ({"score": [1, 2, 3, 4]}, "length")]
)
def test_a_control_that_was_not_learned_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, learned: dict[str, list[float]], missing: str
):
    folder = tiny.write_artifact(tmp_path, tokenizer.model, tokenizer.vocabulary)
    opened = open_captioner(folder, tiny.manifest(tokenizer.vocabulary, controls=learned), threads=1)
    asked = {"score": 0, "length": "short"}
    opened.check(Parameters())
    opened.check(Parameters(**{name: value for name, value in asked.items() if name != missing}))
    with pytest.raises(ParameterError, match=f"^{missing} is {asked[missing]}: this model has not learned"):
        opened.check(Parameters(**{missing: asked[missing]}))
