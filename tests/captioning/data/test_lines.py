from __future__ import annotations

import logging

import pytest

from ogiri.captioning.data import lines
from ogiri.captioning.data.lines import Dropped, drop_unfit, unfit
from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.record import Label, Record


def nothing(line: str) -> bool:
    return False


def build(*pairs: tuple[str, str]) -> Records:
    builder = RecordsBuilder()
    for key, line in pairs:
        builder.add(Record(key, line, (Label(f"Label of {key}"),)))
    return builder.build()


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (lines.EMPTY, ""),
        (lines.EMPTY, " \n\u3000"),
        (lines.EMPTY, "\u200b\u200d \ufe0f\ufeff"),
        (lines.EMPTY, "\u202e"),
        (lines.EMPTY, "\u3164\u2800"),
        (lines.CONTROL, "犬\x00"),
        (lines.CONTROL, "犬\tと猫"),
        (lines.CONTROL, "犬\r\nと猫"),
        (lines.CONTROL, "\x1b[31m赤\x7f"),
        (lines.CONTROL, "doesn\u0092t"),
        (lines.CONTROL, "犬\x85と猫"),
        (lines.CONTROL, "犬\u202eと猫"),
        (lines.CONTROL, "\u2067犬\u2069"),
        (lines.UNREADABLE, "文字\ufffd化け"),
        (lines.UNREADABLE, "\ue63e晴れ"),
        (lines.UNREADABLE, "\U000fe000晴れ"),
        (lines.UNREADABLE, "\ud83d"),
        (lines.LINK, "見て https://example.com"),
        (lines.LINK, "ttps://example.com/a を見て"),
        (lines.LINK, "HTTP://EXAMPLE.COM"),
        (lines.LINK, "ｈｔｔｐ：／／ｅｘａｍｐｌｅ．ｃｏｍ"),
        (lines.LINK, "続きはwww.example.jpで"),
        (lines.LINK, "これexample.co.jp/犬"),
        (lines.LINK, "line://犬"),
    ],
)
def test_says_why_a_line_is_not_learned(reason: str, line: str):
    assert unfit(line, 200, nothing) == reason


@pytest.mark.parametrize(
    "line",
    [
        "会議、まだ続く？",
        "「え」\n「え？」",
        "👨‍👩‍👧❤️🇯🇵1️⃣",
        "結婚.com",
        "and/or 3.5/4 vol.2/3",
        "www",
        "草www",
        "awwww.ok then",
        "12:30 // おわり",
        "𠮷野家",
        "か\u3099",
        "a\u200bb",
        "…",
        " 犬 ",
    ],
)
def test_keeps_what_people_write(line: str):
    assert unfit(line, 200, nothing) is None


def test_counts_characters_up_to_the_bound():
    assert unfit("犬" * 20, 20, nothing) is None
    assert unfit("犬" * 21, 20, nothing) == "more than 20 characters"
    assert unfit("犬" * 10_000, 0, nothing) is None


def test_asks_for_banned_words_last():
    assert unfit("犬", 200, lambda line: line == "犬") == lines.BANNED
    assert unfit("犬\x00", 200, lambda line: True) == lines.CONTROL


RECORDS = build(
    ("a.jpg", "good"),
    ("a.jpg", "www.example.com"),
    ("b.jpg", "\x00"),
    ("b.jpg", "see www.example.com"),
    ("c.jpg", "also good"),
    ("c.jpg", "good"),
)


def test_drops_lines_and_the_pictures_that_have_none_left():
    kept, dropped = drop_unfit(RECORDS, 200, nothing)
    assert [(kept.pictures[index].key, line) for index, line in zip(kept.picture_of, kept.lines, strict=True)] == [
        ("a.jpg", "good"),
        ("c.jpg", "also good"),
        ("c.jpg", "good"),
    ]
    assert [picture.labels[0].name for picture in kept.pictures] == ["Label of a.jpg", "Label of c.jpg"]
    assert dropped == [
        Dropped("a.jpg", "www.example.com", lines.LINK),
        Dropped("b.jpg", "\x00", lines.CONTROL),
        Dropped("b.jpg", "see www.example.com", lines.LINK),
    ]


def test_the_log_counts_by_reason_and_shows_some(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    drop_unfit(RECORDS, 200, nothing)
    assert caplog.messages == [
        "3 of 6 lines are left out, and with them 1 of 3 pictures",
        "2 lines have a link, such as a.jpg 'www.example.com', b.jpg 'see www.example.com'",
        r"1 lines have a control character, such as b.jpg '\x00'",
    ]


def test_nothing_is_said_where_nothing_is_dropped(caplog: pytest.LogCaptureFixture):
    good = build(("a.jpg", "good"))
    assert drop_unfit(good, 0, nothing) == (good, [])
    assert caplog.messages == []


def test_everything_may_be_dropped():
    kept, dropped = drop_unfit(RECORDS, 200, lambda line: True)
    assert (len(kept), len(kept.pictures), len(dropped)) == (0, 0, 6)
