"""Ours against the implementations that the literature uses."""

import contextlib
import io
import math
import random
from collections.abc import Sequence

import pytest
import sacrebleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from ogiri.captioning.training.metrics import bleu_mecab, caption_scores, cider_d, line_chrf, segment, variety

WORDS = ["a", "the", "dog", "cat", "man", "runs", "sits", "jumps", "over", "under", "red", "blue", "big"]


def random_lines(seed: int, pictures: int = 40) -> tuple[list[str], list[list[str]]]:
    """Generated lines and references of different numbers and lengths, some of them equal."""
    rng = random.Random(seed)

    def line() -> str:
        return " ".join(rng.choices(WORDS, k=rng.choice([1, 2, 4, 7, 12])))

    references = [[line() for _ in range(rng.randint(1, 5))] for _ in range(pictures)]
    generated = [rng.choice(lines) if rng.random() < 0.3 else line() for lines in references]
    return generated, references


def by_picture(lines: Sequence[Sequence[str]]) -> dict[int, list[str]]:
    return dict(enumerate(map(list, lines)))


@pytest.mark.parametrize("seed", range(3))
def test_bleu_and_cider_are_those_of_pycocoevalcap(seed: int):
    generated, references = random_lines(seed)
    ours = caption_scores(generated, references, "word")
    truth, found = by_picture(references), by_picture([[line] for line in generated])
    with contextlib.redirect_stdout(io.StringIO()):
        bleu, _ = Bleu(4).compute_score(truth, found)
    cider, _ = Cider().compute_score(truth, found)
    assert ours.bleu == pytest.approx([100 * value for value in bleu], rel=1e-6)
    assert ours.cider == pytest.approx(cider, rel=1e-6)
    assert cider > 0.1


def test_cider_of_characters_is_that_of_pycocoevalcap():
    references = [["犬も歩けば棒に当たる", "犬が歩く"], ["猫の手も借りたい"], ["社長が怒った", "部長も怒った", "誰だ"]]
    generated = ["犬も歩けば", "猫の手", "社長も怒った"]
    spaced = [[" ".join(line) for line in lines] for lines in references]
    expected, _ = Cider().compute_score(by_picture(spaced), by_picture([[" ".join(line)] for line in generated]))
    assert caption_scores(generated, references, "character").cider == pytest.approx(expected, rel=1e-6)


def test_chrf_is_that_of_sacrebleu():
    generated, references = random_lines(5)
    two = [(lines * 2)[:2] for lines in references]
    expected = sacrebleu.corpus_chrf(generated, [list(stream) for stream in zip(*two, strict=True)])
    assert caption_scores(generated, two, "word").chrf == pytest.approx(expected.score)


def test_a_picture_with_fewer_references_is_judged_by_those_it_has():
    generated, references = random_lines(6)
    padded = [(lines * 5)[:5] for lines in references]
    few, many = (caption_scores(generated, each, "word") for each in (references, padded))
    assert few.bleu == pytest.approx(many.bleu)
    assert few.chrf == pytest.approx(many.chrf)


def test_perfect_lines_have_perfect_scores_and_foreign_ones_none():
    references = [["犬も歩けば棒に当たる"], ["猫の手も借りたい"]]
    perfect = caption_scores([lines[0] for lines in references], references, "character")
    assert perfect.bleu == pytest.approx((100,) * 4)
    assert perfect.cider == pytest.approx(10)
    assert perfect.chrf == pytest.approx(100)
    foreign = caption_scores(["xyz", "xyz"], references, "character")
    assert (foreign.bleu, foreign.cider, foreign.chrf) == ((0, 0, 0, 0), 0, 0)


def test_nothing_is_added_to_counts_of_zero():
    scores = caption_scores(["a dog runs there"], [["the dog sat here"]], "word")
    assert scores.bleu == (pytest.approx(25), 0, 0, 0)


@pytest.mark.parametrize(("line", "expected"), [("", 0.0), ("犬", 0.0)])
def test_lines_too_short_for_any_of_it_count_as_nothing(line: str, expected: float):
    scores = caption_scores([line, line], [["犬も歩けば"], ["猫の手も"]], "character")
    assert scores.bleu[3] == expected
    assert math.isfinite(scores.cider)


@pytest.mark.parametrize(
    ("generated", "references"), [([], []), (["a"], []), (["a"], [[]]), (["a", "b"], [["a"]])], ids=repr
)
def test_pictures_without_a_line_or_a_reference_are_an_error(generated: list[str], references: list[list[str]]):
    with pytest.raises(ValueError, match="at least one reference"):
        caption_scores(generated, references, "word")


def test_one_picture_alone_has_no_rare_words():
    assert cider_d([["a", "dog"]], [[["a", "dog"]]]) == 0


def test_bleu_of_japanese_words():
    references = [["犬も歩けば棒に当たる。"], ["猫の手も借りたい。"]]
    assert bleu_mecab([lines[0] for lines in references], references) == pytest.approx(100)
    assert 5 < bleu_mecab(["犬が歩けば棒に当たる。", "猫の手も貸したい。"], references) < 90


def test_chrf_of_a_line_is_that_of_its_best_reference():
    references = ["猫の手も借りたい。", "犬も歩けば棒に当たる。"]
    assert line_chrf("犬も歩けば棒に当たる。", references) == pytest.approx(100)
    alone = line_chrf("犬が歩けば棒に当たる。", references[1:])
    assert 30 < alone < 90
    assert line_chrf("犬が歩けば棒に当たる。", references) == pytest.approx(alone)
    assert line_chrf("山", references) == 0


# --- segments --------------------------------------------------------------------------------------------------------


def test_characters_are_all_but_white_space():
    assert segment("犬 も\u3000🍣\n𠮷！", "character") == ["犬", "も", "🍣", "𠮷", "！"]


def test_words_are_lower_case_without_punctuation():
    assert segment("A dog's  (big) T-shirt , isn't it ?", "word") == ["a", "dog's", "big", "t-shirt", "isn't", "it"]
    assert segment(" . ", "word") == []


# --- variety ---------------------------------------------------------------------------------------------------------


def test_variety_counts_lines_and_n_grams():
    found = variety(["ab", "ab", "cd"], {"cd", "xy"}, "character")
    assert found.unique == pytest.approx(2 / 3)
    assert found.copied == pytest.approx(1 / 3)
    assert found.distinct_1 == pytest.approx(4 / 6)
    assert found.distinct_2 == pytest.approx(2 / 3)


def test_lines_that_are_all_alike_have_a_high_self_bleu():
    alike = variety(["犬も歩けば棒に当たる"] * 5, set(), "character")
    differing = variety(["犬も歩けば棒に", "猫の手も借りたい", "社長が怒った", "山は高い"], set(), "character")
    assert alike.self_bleu == pytest.approx(100)
    assert alike.unique == 0.2
    assert differing.self_bleu < 20


def test_self_bleu_is_taken_of_a_sample():
    alike, others = ["犬も歩けば棒に当たる"] * 10, [chr(0x4E00 + 9 * n) * 8 for n in range(10)]
    assert variety(alike + others, set(), "character", sample=10).self_bleu == pytest.approx(100)


@pytest.mark.parametrize("lines", [[], [""], ["a"]])
def test_variety_of_next_to_nothing(lines: list[str]):
    assert variety(lines, set(), "character").self_bleu == 0
