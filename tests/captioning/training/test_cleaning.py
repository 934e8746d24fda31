from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.captioning.training.cleaning import banned_words, clean
from ogiri.record import Record
from ogiri.task import UserError
from tests.captioning.training.small import hyperparameters


@pytest.fixture
def channels(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in ("training", "records", "pretrained", "model")}
    for folder in folders.values():
        folder.mkdir()
    return folders


def write(folder: Path, *words: str, name: str = "words.txt") -> None:
    (folder / name).write_text("\n".join(words), encoding="utf-8")


# --- the list --------------------------------------------------------------------------------------------------------


def test_no_words_where_none_are_asked_for(channels: dict[str, Path]):
    write(channels["records"], "犬")
    assert banned_words(channels, hyperparameters()) == ()


@pytest.mark.parametrize("channel", ["training", "records", "pretrained"])
def test_words_come_from_the_hyperparameter_and_from_a_file(channels: dict[str, Path], channel: str):
    write(channels[channel], "猫", "犬")
    hp = hyperparameters(banned_words=("犬", " new\nyork "), banned_words_file="words.txt")
    assert banned_words(channels, hp) == ("犬", "new york", "猫")


def test_a_channel_that_is_not_there_is_no_place(channels: dict[str, Path]):
    write(channels["training"], "犬")
    only = {"training": channels["training"]}
    assert banned_words(only, hyperparameters(banned_words_file="words.txt")) == ("犬",)


def test_a_file_that_is_nowhere_is_named_with_the_places(channels: dict[str, Path]):
    write(channels["model"], "犬")
    places = ", ".join(str(channels[name]) for name in ("records", "pretrained", "training"))
    message = f"banned_words_file is 'words.txt', and there is no such file in {places}: put it into one of them"
    with pytest.raises(UserError, match=re.escape(message)):
        banned_words(channels, hyperparameters(banned_words_file="words.txt"))


@pytest.mark.parametrize("name", ["../words.txt", "/words.txt", "lists/words.txt", ".."])
def test_a_file_lies_in_the_channel_itself(channels: dict[str, Path], name: str):
    write(channels["records"].parent, "犬")
    with pytest.raises(UserError, match=r"banned_words_file is "):
        banned_words(channels, hyperparameters(banned_words_file=name))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"words\.txt has no words: write one a line, or leave banned_words_file out"),
        (b" \n\n", r"words\.txt has no words"),
        ("犬".encode("cp932"), r"words\.txt is not in UTF-8"),
        (b"x" * 101, r"words\.txt has a banned word of 101 characters"),
    ],
)
def test_a_file_that_is_no_list_is_named(channels: dict[str, Path], data: bytes, message: str):
    (channels["records"] / "words.txt").write_bytes(data)
    with pytest.raises(UserError, match=message):
        banned_words(channels, hyperparameters(banned_words_file="words.txt"))


def test_a_word_of_the_hyperparameter_has_an_end(channels: dict[str, Path]):
    with pytest.raises(UserError, match="the job has a banned word of 101 characters"):
        banned_words(channels, hyperparameters(banned_words=("x" * 101,)))


# --- cleaning --------------------------------------------------------------------------------------------------------


LINES = ["犬が来た", "いぬ！", "イヌだ", "see www.example.com", "長" * 30, "猫\x00", "猫", "鳥"]


@pytest.fixture
def records() -> Records:
    builder = RecordsBuilder()
    for number, line in enumerate(LINES):
        builder.add(Record(f"{number}.png", line))
    return builder.build()


def listed(output: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (output / "dropped.jsonl").read_text(encoding="utf-8").splitlines()]


def test_what_is_left_out_is_listed_with_its_reason(records: Records, tmp_path: Path):
    kept, dropped = clean(records, hyperparameters(min_records=2, max_characters=29), ["ｲﾇ", "いぬ"], tmp_path / "new")
    assert kept.lines == ["犬が来た", "猫", "鳥"]
    reasons = ["a banned word", "a banned word", "a link", "more than 29 characters", "a control character"]
    assert listed(tmp_path / "new") == [
        {"image_key": f"{number}.png", "line": LINES[number], "reason": reason}
        for number, reason in enumerate(reasons, 1)
    ]
    assert [one.reason for one in dropped] == reasons


def test_the_list_is_empty_where_nothing_is_left_out(records: Records, tmp_path: Path):
    kept, dropped = clean(records.select([0, 7]), hyperparameters(min_records=2), [], tmp_path)
    assert (len(kept), dropped, listed(tmp_path)) == (2, [], [])


@pytest.mark.parametrize(
    ("banned", "left", "reasons"),
    [
        (["犬", "いぬ"], 3, "2 have a banned word, 1 have a control character, 1 have a link, 1 have more than"),
        ([], 5, ""),
    ],
)
def test_too_little_left_says_why_and_is_listed_all_the_same(
    records: Records, tmp_path: Path, banned: list[str], left: int, reasons: str
):
    hp = hyperparameters(min_records=6, max_characters=29)
    message = f"{left} of 8 lines are left, fewer than the 6 of the hyperparameter min_records: {reasons}"
    with pytest.raises(UserError, match=message) as caught:
        clean(records, hp, banned, tmp_path)
    assert "dropped.jsonl" in str(caught.value)
    assert len(listed(tmp_path)) == 8 - left


def test_half_a_surrogate_pair_is_listed_too(tmp_path: Path):
    builder = RecordsBuilder()
    builder.add(Record("a.png", "犬"))
    builder.add(Record("b.png", "犬\ud83d"))
    clean(builder.build(), hyperparameters(min_records=1), [], tmp_path)
    assert listed(tmp_path)[0]["image_key"] == "b.png"
