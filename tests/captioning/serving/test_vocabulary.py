from __future__ import annotations

import numpy as np
import pytest

from ogiri.captioning.serving.vocabulary import BETWEEN, Situation, Vocabulary

BYTES = [bytes([byte]) for byte in range(256)]
END = 256
VOCABULARY = Vocabulary([*BYTES, b"", b"", "犬".encode(), b"ab", b" a", b"a ", b" ", b"a\x07", "。\n".encode()], END)
FREE = Situation(BETWEEN, characters_left=100, tokens_left=100, short=False, hurry=False, may_end=True)


def allowed(situation: Situation) -> set[int]:
    return set(np.flatnonzero(~VOCABULARY.forbidden(situation)).tolist())


def whole(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() or text.isspace()


def walk(data: bytes) -> int | None:
    """Where these single-byte tokens lead, None if one of them is forbidden."""
    place = BETWEEN
    for byte in data:
        if byte not in allowed(Situation(place, 100, 100, False, False, place == BETWEEN)):
            return None
        place = VOCABULARY.place_after(place, byte)
    return place


def test_every_character_can_be_written_in_bytes():
    for code in (
        *range(0x20, 0x7F),
        0xA0,
        0xE9,
        0x7FF,
        0x800,
        0x3042,
        0xD7FF,
        0xE000,
        0xFFFD,
        0x10000,
        0x1F436,
        0x10FFFF,
    ):
        assert walk(chr(code).encode()) == BETWEEN, hex(code)
    assert walk(b"\n") == BETWEEN


def test_bytes_that_are_no_character_are_refused():
    random = np.random.default_rng(0)
    samples = [random.integers(0, 256, random.integers(1, 5)).astype(np.uint8).tobytes() for _ in range(3000)]
    wrong = [b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xff"]
    control = [b"\x00", b"\x07", b"\r", b"\x7f", "\x85".encode()]
    for data in samples:
        if walk(data) == BETWEEN:
            data.decode()
    for data in (*wrong, *control):
        assert walk(data) != BETWEEN


def test_a_character_that_was_begun_is_finished():
    place = VOCABULARY.place_after(BETWEEN, 0xE7)
    assert allowed(Situation(place, 0, 2, False, False, False)) == set(range(0x80, 0xC0))


def test_a_character_is_only_begun_if_tokens_are_left_for_it():
    for tokens_left, lead in ((1, 0xC3), (2, 0xE7), (3, 0xF0)):
        few, enough = (Situation(BETWEEN, 9, left, False, False, True) for left in (tokens_left, tokens_left + 1))
        assert lead not in allowed(few)
        assert lead in allowed(enough)


def test_tokens_that_do_not_fit_are_refused():
    one = allowed(Situation(BETWEEN, 1, 9, False, False, True))
    assert {258, 262, ord("a"), 0xE7, END} <= one
    assert not {259, 260, 261, 264} & one
    assert allowed(Situation(BETWEEN, 0, 9, False, False, True)) == {END}


def test_control_tokens_never_come():
    assert 257 not in allowed(FREE)
    assert 263 not in allowed(FREE)


@pytest.mark.parametrize("token", [261, 262, 264, 0x20, 0x0A, 0xE7])
def test_in_a_hurry_every_token_brings_a_character(token: int):
    assert token in allowed(FREE)
    assert token not in allowed(Situation(BETWEEN, 9, 9, short=True, hurry=True, may_end=False))


def test_masks_are_made_once():
    assert VOCABULARY.forbidden(FREE) is VOCABULARY.forbidden(Situation(BETWEEN, 99, 98, False, False, True))
