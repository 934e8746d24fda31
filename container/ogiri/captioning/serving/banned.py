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

_SPACE = re.compile(r"\s+")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]"
)
_FREE_SPACE = re.compile(r"(?<![0-9a-z]) | (?![0-9a-z])")


class BannedWords:
    """Words to look for; blank ones are ignored."""

    def __init__(self, words: Iterable[str]) -> None:
        words = [word for word in words if _fold(word)]
        self._folded = {_fold(word) for word in words}
        self._plain = {word.casefold() for word in words}

    def __bool__(self) -> bool:
        return bool(self._folded)

    def found_in(self, text: str) -> bool:
        """Whether one of the words is in `text`, as it stands or folded."""
        if not self._folded:
            return False
        plain, folded = text.casefold(), _fold(text)
        return any(word in folded for word in self._folded) or any(word in plain for word in self._plain)


def _fold(text: str) -> str:
    text = _INVISIBLE.sub("", text)  # first: one between か and ゛ keeps them apart
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _FREE_SPACE.sub("", _SPACE.sub(" ", text))
