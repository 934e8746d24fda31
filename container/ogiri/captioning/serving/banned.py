"""Words that must not appear in a line, found in the text and not in its tokens.

Text and words are folded before they are compared: compatibility forms are one (ＮＧ, ng and ㎏ as kg), case does not
matter, invisible characters are dropped, and so is white space, except between two Latin letters or digits. So a line
break inside a Japanese word hides nothing, while "ass" is not found in "was so". A word is found inside longer words
too: Japanese has no borders between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

MAX_LISTED_WORDS = 10_000
MAX_WORD_CHARACTERS = 100
MANY_WORDS = 300  # from here on it is faster to look up all parts of a line

_SPACE = re.compile(r"\s+")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
_FREE_SPACE = re.compile(r"(?<![0-9a-z]) | (?![0-9a-z])")


class BannedWords:
    """Words to look for; blank ones are ignored."""

    def __init__(self, words: Iterable[str] = (), beside: BannedWords | None = None) -> None:
        """Args: beside: what is to be looked for too."""
        words = [word for word in words if _fold(word)]
        self._folded = {_fold(word) for word in words}
        self._plain = {word.casefold() for word in words}
        if beside is not None:
            self._folded |= beside._folded
            self._plain |= beside._plain
        self._lengths = sorted(set(map(len, self._folded | self._plain)))

    def __bool__(self) -> bool:
        return bool(self._folded)

    def found_in(self, text: str) -> bool:
        """Whether one of the words is in `text`, as it stands or folded."""
        if not self._folded:
            return False
        return self._is_in(_fold(text), self._folded) or self._is_in(text.casefold(), self._plain)

    def _is_in(self, text: str, words: set[str]) -> bool:
        if len(words) < MANY_WORDS:
            return any(word in text for word in words)
        return any(text[start : start + n] in words for n in self._lengths for start in range(len(text) - n + 1))


def read_words(path: Path) -> tuple[str, ...]:
    """The words of a list: a text file in UTF-8, one word a line; blank lines are ignored.

    Raises:
        ValueError: another encoding; more or longer words than a list may have. The message names the file.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8 (its byte {error.start}): save it as UTF-8") from error
    return check_words([line.strip() for line in text.split("\n")], str(path))


def check_words(words: Iterable[str], place: str) -> tuple[str, ...]:
    """The words that are not blank, in their order, each once.

    Raises:
        ValueError: there are more than `MAX_LISTED_WORDS`, or one is longer than `MAX_WORD_CHARACTERS`.
    """
    found = tuple(dict.fromkeys(word for word in words if _fold(word)))
    if len(found) > MAX_LISTED_WORDS:
        raise ValueError(f"{place} has {len(found):,} banned words: at most {MAX_LISTED_WORDS:,} are taken")
    for word in found:
        if len(word) > MAX_WORD_CHARACTERS:
            raise ValueError(
                f"{place} has a banned word of {len(word)} characters, {word[:20]!r}…: at most {MAX_WORD_CHARACTERS} "
                "are taken, and each word needs a line of its own"
            )
    return found


def _fold(text: str) -> str:
    text = _INVISIBLE.sub("", text)  # first: one between か and ゛ keeps them apart
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _FREE_SPACE.sub("", _SPACE.sub(" ", text))
