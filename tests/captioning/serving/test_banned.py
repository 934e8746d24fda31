from __future__ import annotations

import pytest

from ogiri.captioning.serving.banned import BannedWords


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


@pytest.mark.parametrize(
    ("word", "text"), [("ass", "was so"), ("new york", "newyork"), ("ばか", "ばなか"), ("", "a"), (" \n", "a b")]
)
def test_does_not_find_what_is_not_there(word: str, text: str):
    assert not BannedWords([word]).found_in(text)


def test_blank_words_ban_nothing():
    assert not BannedWords(["", " ", "\u200b"])
