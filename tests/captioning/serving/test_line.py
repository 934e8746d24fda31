"""Random walks through the rules: whatever the decoder likes best, the line obeys them."""

from __future__ import annotations

import numpy as np
import pytest

from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.banned import BannedWords
from ogiri.captioning.serving.line import Caption, Line, Rules
from ogiri.captioning.serving.vocabulary import Vocabulary
from ogiri.task import RequestError


@pytest.fixture(scope="module")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(tokenizer.surfaces, tokenizer.eos)


def walk(rules: Rules, scores: np.ndarray, random: np.random.Generator) -> Caption:
    """A line whose tokens are drawn in proportion to `scores` among those that are allowed."""
    line = Line()
    while True:
        odds = np.where(rules.forbidden(line), 0, scores)
        while odds.any():
            token = int(random.choice(len(odds), p=odds / odds.sum()))
            if token == rules.end or rules.allows(line, token):
                break
            odds[token] = 0
        if not odds.any() or token == rules.end:
            return rules.caption(line, -1.0)
        line = rules.extended(line, token, -1.0)


def likes(tokenizer: Tokenizer, *texts: bytes) -> np.ndarray:
    """Scores of a decoder that hardly wants anything but pieces with these bytes."""
    liked = [any(text in surface for text in texts) for surface in tokenizer.surfaces]
    return np.where(liked, 1.0, 1e-4)


BIASES = {
    "anything": lambda t: np.ones(t.vocabulary),
    "bytes": lambda t: np.where([len(s) == 1 and s[0] > 127 for s in t.surfaces], 1.0, 1e-3),
    "blanks": lambda t: likes(t, b" ", b"\n", "\u3000".encode(), b"\xe3", b"\x80"),
    "the end": lambda t: np.where(np.arange(t.vocabulary) == t.eos, 1.0, 1e-6),
    "no end": lambda t: np.where(np.arange(t.vocabulary) == t.eos, 1e-9, 1.0),
}


@pytest.mark.parametrize("bias", BIASES)
def test_lengths_are_kept_whatever_the_decoder_likes(bias: str, vocabulary: Vocabulary, tokenizer: Tokenizer):
    random, scores = np.random.default_rng(0), BIASES[bias](tokenizer)
    for _ in range(60):
        low = int(random.integers(1, 12))
        high = low + int(random.choice([0, 0, 1, 5]))
        max_tokens = low + int(random.choice([0, 1, 3, 10]))
        caption = walk(Rules(vocabulary, low, high, max_tokens, BannedWords([])), scores, random)
        assert low <= len(caption.text) <= high
        assert caption.text == caption.text.strip()
        assert len(caption.tokens) <= max_tokens
        assert tokenizer.decode(caption.tokens).strip() == caption.text
        assert "\ufffd" not in caption.text or "\ufffd".encode() in b"".join(
            tokenizer.surfaces[token] for token in caption.tokens
        )


def test_an_exact_length_is_met(vocabulary: Vocabulary, tokenizer: Tokenizer):
    random = np.random.default_rng(1)
    for length in range(1, 15):
        for bias in BIASES.values():
            caption = walk(Rules(vocabulary, length, length, length, BannedWords([])), bias(tokenizer), random)
            assert len(caption.text) == length


def test_banned_words_never_come_though_the_decoder_likes_nothing_else(vocabulary: Vocabulary, tokenizer: Tokenizer):
    random = np.random.default_rng(2)
    banned = BannedWords(["犬", "ａＢ", "だめ"])
    scores = likes(tokenizer, "犬".encode(), b"a", b"b", b"A", b"B", b" ", *(bytes([b]) for b in "犬".encode()))
    for _ in range(100):
        text = walk(Rules(vocabulary, 1, 30, 40, banned), scores, random).text
        assert "犬" not in text
        assert "ab" not in text.lower()


def test_a_line_ends_where_only_banned_words_are_left():
    vocabulary = Vocabulary([b"", b"", b"", b"a", b"b"], 2)
    rules = Rules(vocabulary, 5, 9, 9, BannedWords(["aa", "b"]))
    line = rules.extended(Line(), 3, -1.0)
    assert np.flatnonzero(~rules.forbidden(line)).tolist() == [3, 4]
    assert not rules.allows(line, 3)
    assert not rules.allows(line, 4)
    assert rules.caption(line, -2.0) == Caption("a", -1.5, (3,))


def test_nothing_to_write_is_the_callers_fault():
    rules = Rules(Vocabulary([b"", b"", b"", b"a"], 2), 1, 9, 9, BannedWords(["a"]))
    with pytest.raises(RequestError, match="banned_words") as caught:
        rules.caption(Line(), -1.0)
    assert caught.value.status == 400


def test_white_space_in_front_costs_no_characters():
    rules = Rules(Vocabulary([b"", b"", b"", b" ", b"abc", b"d"], 2), 3, 3, 9, BannedWords([]))
    line = rules.extended(rules.extended(Line(), 3, 0.0), 4, 0.0)
    assert line.text == "abc"
    assert np.flatnonzero(~rules.forbidden(line)).tolist() == [2]
