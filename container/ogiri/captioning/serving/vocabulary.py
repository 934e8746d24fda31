"""What may follow what, so that the bytes of a line are always UTF-8 and its length in characters is known.

A token stands for bytes (`Tokenizer.surfaces`): mostly whole characters, with byte fallback also single bytes of one.
The decoder's choices go through masks that are made once for each situation and kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]

# Where the bytes so far end: between characters, or inside one (Unicode standard, table 3-7). Bytes that UTF-8 forbids
# (overlong forms, surrogates, above U+10FFFF), and control characters in two bytes (C2 80 to C2 9F), never come.
BETWEEN, ONE_MORE, TWO_MORE, THREE_MORE, AFTER_C2, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4 = range(9)
INVALID = -1
_MISSING = (0, 1, 2, 3, 1, 2, 2, 3, 3)  # bytes until the character is whole, for each of the above
_INSIDE = {  # place → (lowest byte, highest byte, place after it)
    ONE_MORE: (0x80, 0xBF, BETWEEN),
    TWO_MORE: (0x80, 0xBF, ONE_MORE),
    THREE_MORE: (0x80, 0xBF, TWO_MORE),
    AFTER_C2: (0xA0, 0xBF, BETWEEN),
    AFTER_E0: (0xA0, 0xBF, ONE_MORE),
    AFTER_ED: (0x80, 0x9F, ONE_MORE),
    AFTER_F0: (0x90, 0xBF, TWO_MORE),
    AFTER_F4: (0x80, 0x8F, TWO_MORE),
}
_LEADS = [  # (lowest byte, highest byte, place after it)
    (0x00, 0x7F, BETWEEN),
    (0xC2, 0xC2, AFTER_C2),
    (0xC3, 0xDF, ONE_MORE),
    (0xE0, 0xE0, AFTER_E0),
    (0xE1, 0xEC, TWO_MORE),
    (0xED, 0xED, AFTER_ED),
    (0xEE, 0xEF, TWO_MORE),
    (0xF0, 0xF0, AFTER_F0),
    (0xF1, 0xF3, THREE_MORE),
    (0xF4, 0xF4, AFTER_F4),
]
MAX_CHARACTER_TOKENS = 4  # a character of four bytes, each a token


class Situation(NamedTuple):
    """What decides which tokens may come next.

    Attributes:
        place: where the bytes so far end.
        characters_left, tokens_left: what still fits.
        short: the line has fewer characters than it must get.
        hurry: as short as it is, every token from now on must bring a character.
        may_end: the end token may come.
    """

    place: int
    characters_left: int
    tokens_left: int
    short: bool
    hurry: bool
    may_end: bool


class Vocabulary:
    """The tokens of one tokenizer, seen as bytes."""

    def __init__(self, surfaces: Sequence[bytes], end: int) -> None:
        """Args: surfaces: what each token stands for, empty for control tokens. end: the end token."""
        self.surfaces = list(surfaces)
        self.end = end
        self.size = len(self.surfaces)
        self._characters = np.array([sum(byte & 0xC0 != 0x80 for byte in s) for s in surfaces], np.int16)
        self._blank_end = np.array([_ends_blank(s) for s in surfaces], np.bool_)
        self._places = self._place_table()
        self._missing = np.array((*_MISSING, 99), np.int8)[self._places]  # 99 stands at index -1: invalid
        self._longest = int(self._characters.max(initial=1))
        self._forbidden = lru_cache(maxsize=256)(self._build)

    def place_after(self, place: int, token: int) -> int:
        """Where the bytes end after this token."""
        return int(self._places[place, token])

    def forbidden(self, situation: Situation) -> Mask:
        """Which tokens must not come: (vocabulary,), read-only."""
        return self._forbidden(
            Situation(
                situation.place,
                min(situation.characters_left, self._longest + 1),
                min(situation.tokens_left, MAX_CHARACTER_TOKENS),
                situation.short,
                situation.hurry,
                situation.may_end,
            )
        )

    def _build(self, s: Situation) -> Mask:
        missing = self._missing[s.place]
        forbidden: Mask = (missing >= s.tokens_left) | (self._characters > s.characters_left)
        if s.place == BETWEEN:  # inside a character there is no choice but to finish it
            idle = self._blank_end | (missing > 0)  # tokens after which the line is no longer than before
            if s.short:
                forbidden |= idle & (self._characters >= s.characters_left)
            if s.hurry:
                forbidden |= idle
        forbidden[self.end] = not s.may_end
        forbidden.setflags(write=False)
        return forbidden

    def _place_table(self) -> npt.NDArray[np.int8]:
        """(places, vocabulary): where each token leads from each place."""
        table = np.full((len(_MISSING), self.size), INVALID, np.int8)
        for token, surface in enumerate(self.surfaces):
            text = surface.decode("utf-8", "ignore")
            if not surface or _has_control(text):
                continue
            if text.encode() == surface:  # nearly all are whole characters
                table[BETWEEN, token] = BETWEEN
            elif 0x80 <= surface[0] <= 0xBF:
                for place in _INSIDE:
                    table[place, token] = _walk(place, surface)
            else:
                table[BETWEEN, token] = _walk(BETWEEN, surface)
        return table


def _walk(place: int, surface: bytes) -> int:
    for byte in surface:
        ways = _LEADS if place == BETWEEN else [_INSIDE[place]]
        place = next((after for low, high, after in ways if low <= byte <= high), INVALID)
        if place == INVALID:
            return INVALID
    return place


def _has_control(text: str) -> bool:
    if text.isprintable():
        return False
    return any(character not in "\n\t" and unicodedata.category(character) == "Cc" for character in text)


def _ends_blank(surface: bytes) -> bool:
    return surface.decode("utf-8", "ignore")[-1:].isspace()
