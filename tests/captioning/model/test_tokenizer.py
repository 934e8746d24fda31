import random

import pytest

from ogiri.captioning.model.tokenizer import Tokenizer, train_tokenizer

LINES = [
    "犬も歩けば棒に当たる。",
    "猫が「ごはん」と言った！",
    "吾輩は猫である。\n名前はまだ無い。",
    "まさかの展開に犬もびっくり",
    "ABC で始まる英語の歌",
    "a dog and a cat",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(LINES * 3, 500)


@pytest.mark.parametrize(
    "text",
    [
        "",
        *LINES,
        "一行目\n\n三行目\r\n四行目\n",
        "🍣と👨‍👩‍👧と🇯🇵",
        "𠮷野家で𩸽",
        "ﾊﾝｶｸ ﾊﾟﾋﾟﾌﾟ ＺＥＮＫＡＫＵ ！？～①㍻",
        "か\u3099と\u304c e\u0301 \ufe0f",  # combining marks stay apart
        "▁",
        "a▁b ▁▁ 犬▁",
        "\tタブ\tと\0ヌル\x1b",
        "  前も 後ろも  ",
        "\u3000全角の空白\u3000",
        "\u2028\u200b\ufeff\x85",
        "<s></s><unk><0x41>",
        "\uffff\U0010ffff",
    ],
)
def test_every_text_survives(tokenizer: Tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_many_texts_are_encoded_as_each_alone(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ogiri.captioning.model.tokenizer.ENCODED_AT_ONCE", 4)
    texts = ["", *LINES, "▁", "a▁b ▁▁ 犬▁", "🍣と👨‍👩‍👧", "  前も 後ろも  ", "\0\uffff", ""]
    tokens = tokenizer.encode_lines(texts)
    assert list(tokens) == [tokenizer.encode(text) for text in texts]
    assert len(tokenizer.encode_lines([])) == 0
    lower = Tokenizer(tokenizer.model, lower_case=True)
    assert list(lower.encode_lines(["ABC Dog"])) == [tokenizer.encode("abc dog")]


def test_what_tokens_write_is_told_line_by_line(tokenizer: Tokenizer):
    texts = ["犬も", "", "歩けば棒に"]
    assert tokenizer.writes(tokenizer.encode_lines(texts), texts)
    assert not tokenizer.writes(tokenizer.encode_lines(["犬も歩", "", "けば棒に"]), texts)
    assert not tokenizer.writes(tokenizer.encode_lines(["犬も", "", "歩けば棒"]), texts)


def test_of_many_lines_the_tokenizer_is_trained_on_some(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    lines = [f"{chr(0x4E00 + n)}と{chr(0x4E00 + n)}" for n in range(300)]
    whole = train_tokenizer(lines, 700).model
    assert "of 300 lines" not in caplog.text
    monkeypatch.setattr("ogiri.captioning.model.tokenizer.MAX_TRAINED_LINES", 100)
    some = train_tokenizer(lines, 700)
    assert some.model == train_tokenizer(lines, 700).model != whole
    assert "the tokenizer is trained on 100 of 300 lines" in caplog.text
    known = [n for n, line in enumerate(lines) if len(some.encode(line[0])) == 1]
    assert len(known) == 100
    assert max(known) > 250  # from everywhere
    assert all(some.decode(some.encode(line)) == line for line in lines)


def test_random_unicode_survives(tokenizer: Tokenizer):
    rng = random.Random(0)
    ranges = [(0, 0x20), (0x20, 0x7F), (0x80, 0x3000), (0x3000, 0x9FFF), (0x1F300, 0x1FA00), (0, 0x110000)]
    for _ in range(2000):
        codes = [rng.randrange(*rng.choice(ranges)) for _ in range(rng.randrange(15))]
        text = "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    "line", ["犬", "a", "🍣", "𠮷", "▁", "a\0b", " x ", "猫\n", "w" * 1024], ids=lambda line: ascii(line[:4])
)
def test_one_line_is_enough(line: str):
    tokenizer = train_tokenizer([line], 64)
    for text in (line, "何か別の line\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_few_lines_give_fewer_tokens_than_asked_for(tokenizer: Tokenizer):
    assert train_tokenizer(["犬"], 8000).vocabulary < 300
    assert tokenizer.vocabulary <= 500


def test_frequent_words_become_tokens_of_their_own():
    nouns, places = ("dog", "cat", "horse", "fox"), ("street", "green", "square", "jetty")
    lines = [f"a {noun} jumps over the {place} and is quick" for noun in nouns for place in places]
    english = train_tokenizer(lines * 20, 400)
    for line in lines:
        assert len(english.encode(line)) <= len(line.split()) + 2
    japanese = train_tokenizer([f"{name}が棒に当たる" for name in ("犬", "猫", "社長", "部長")] * 20, 400)
    assert len(japanese.encode("社長が棒に当たる")) <= 3


def test_label_names_are_covered_beside_the_lines():
    assert len(train_tokenizer(LINES * 3, 500, ["Dinosaur"] * 20).encode("Dinosaur")) < len("Dinosaur")


def test_the_same_lines_give_the_same_bytes():
    assert train_tokenizer(LINES, 400).model == train_tokenizer(LINES, 400).model


def test_unseen_characters_are_spelled_in_bytes(tokenizer: Tokenizer):
    tokens = tokenizer.encode("鰯")
    assert [tokenizer.surfaces[token] for token in tokens] == [b"\xe9", b"\xb0", b"\xaf"]
    assert tokenizer.decode(tokens[:2]) == "\ufffd"


def test_characters_that_were_seen_twice_are_tokens_and_others_need_none():
    often, twice, once = (
        "犬猫が棒に当たる",
        [chr(0x4E00 + n) for n in range(2600)],
        [chr(0x5E00 + n) for n in range(40)],
    )
    lines = [often] * 1000 + twice * 2 + once
    tokenizer = train_tokenizer(lines, 4000)
    assert [character for character in (*often, *twice) if len(tokenizer.encode(character)) != 1] == []
    assert sum(len(tokenizer.encode(character)) == 1 for character in once) < 5


def test_of_few_characters_all_are_tokens():
    once = [chr(0x4E00 + n) for n in range(300)]
    tokenizer = train_tokenizer(["犬猫が棒に当たる"] * 1000 + once, 64)
    assert [character for character in once if len(tokenizer.encode(character)) != 1] == []


@pytest.mark.parametrize("vocabulary", [64, 8000])
def test_more_characters_than_the_vocabulary_has_places_for(vocabulary: int):
    line = "".join(chr(0x4E00 + n) for n in range(330))
    tokenizer = train_tokenizer([line], vocabulary)
    assert tokenizer.decode(tokenizer.encode(line)) == line


def test_no_text_encodes_to_begin_end_or_unknown(tokenizer: Tokenizer):
    special = {0, tokenizer.bos, tokenizer.eos}
    assert all(tokenizer.surfaces[token] == b"" for token in special)
    for text in (*LINES, "鰯\0▁<s></s>", "<unk>"):
        assert not special & set(tokenizer.encode(text))


def test_surfaces_are_the_text_piece_by_piece(tokenizer: Tokenizer):
    text = "犬が a cat と\n踊る🍣"
    assert b"".join(tokenizer.surfaces[token] for token in tokenizer.encode(text)) == text.encode()


def test_reads_its_own_bytes_again(tokenizer: Tokenizer):
    again = Tokenizer(tokenizer.model)
    assert (again.vocabulary, again.bos, again.eos) == (tokenizer.vocabulary, 1, 2)
    assert [again.encode(line) for line in LINES] == [tokenizer.encode(line) for line in LINES]


@pytest.mark.parametrize("model", [b"", b"no model", b"\x00" * 64])
def test_other_bytes_are_refused(model: bytes):
    with pytest.raises(ValueError, match=r"tokenizer\.model"):
        Tokenizer(model)
