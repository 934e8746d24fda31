from __future__ import annotations

from pathlib import Path

import pytest

from ogiri.captioning.serving.banned import MANY_WORDS, MAX_LISTED_WORDS, BannedWords, check_words, read_words

MANY = [f"{chr(0x4E00 + n)}禁{'句' * (n % 7)}" for n in range(MANY_WORDS)]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("ばか", "このばか者"),
        ("ばか", "ば か"),
        ("ばか", "ば\nか"),
        ("ばか", "ば\u200bか"),
        ("バカ", "ﾊﾞｶ"),
        ("ﾊﾞｶ", "バカ"),
        ("バカ", "ハ\u3099カ"),
        ("NG", "これはｎｇです"),
        ("ｎｇ", "NG"),
        ("straße", "STRASSE"),
        ("new york", "in New\n York"),
        ("犬 ", "白い犬"),
        ("か", "か\u3099"),
        ("株式会社", "㍿"),
        ("❤", "❤\ufe0f"),
        ("a b", "a b"),
    ],
)
def test_finds_a_word(word: str, text: str):
    assert BannedWords([word]).found_in(text)
    assert BannedWords([word, *MANY]).found_in(text)


@pytest.mark.parametrize(
    ("word", "text"), [("ass", "was so"), ("new york", "newyork"), ("ばか", "ばなか"), ("", "a"), (" \n", "a b")]
)
def test_does_not_find_what_is_not_there(word: str, text: str):
    assert not BannedWords([word]).found_in(text)
    assert not BannedWords([word, *MANY]).found_in(text)


def test_blank_words_ban_nothing():
    assert not BannedWords(["", " ", "\u200b"])


def test_words_may_be_looked_for_beside_others():
    always = BannedWords(["犬"])
    both = BannedWords(["猫"], beside=always)
    assert [both.found_in(text) for text in ("犬", "猫", "鳥")] == [True, True, False]
    assert not always.found_in("猫")
    assert BannedWords([], beside=always).found_in("犬")
    assert not BannedWords([], beside=BannedWords())


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["犬\nnew york\n", "\ufeff犬\r\nnew york", "\n 犬\n\nnew york  \n犬\n\u3000\n\u200b\n"]
)
def test_a_list_has_a_word_a_line(text: str, tmp_path: Path):
    (tmp_path / "words.txt").write_bytes(text.encode())
    assert read_words(tmp_path / "words.txt") == ("犬", "new york")


def test_a_list_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "words.txt").write_bytes("犬\n".encode("cp932"))
    with pytest.raises(ValueError, match=r"words\.txt is not in UTF-8 \(its byte 0\): save it as UTF-8"):
        read_words(tmp_path / "words.txt")


def test_a_list_of_one_long_line_is_refused(tmp_path: Path):
    (tmp_path / "words.txt").write_text("犬,猫," * 30, encoding="utf-8")
    with pytest.raises(ValueError, match=r"words\.txt has a banned word of 120 characters, '犬,猫,.*a line of its own"):
        read_words(tmp_path / "words.txt")


def test_a_list_has_an_end():
    words = [f"word {n}" for n in range(MAX_LISTED_WORDS)]
    assert check_words([*words, words[0]], "the list") == tuple(words)
    with pytest.raises(ValueError, match="the list has 10,001 banned words: at most 10,000 are taken"):
        check_words([*words, "one more"], "the list")
