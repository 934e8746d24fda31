"""Lines that no model should learn to write: they are left out, counted by reason and listed."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ogiri.captioning.data.records import Records

EMPTY = "nothing to read"
CONTROL = "a control character"
UNREADABLE = "a character that says nothing"
LINK = "a link"
BANNED = "a banned word"
LOGGED_EXAMPLES = 3  # of each reason
LOGGED_CHARACTERS = 60  # of each example

# Control characters but for the line break, and those that turn the direction of all text after them.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# What a wrong encoding leaves behind, and characters of private use (old telephones' emoji): every font shows a box.
_UNREADABLE = re.compile("[\ud800-\udfff\ufffd\ufffe\uffff\ue000-\uf8ff\U000f0000-\U0010ffff]")
# An address is meant, not "結婚.com": a scheme, www., or a domain that something follows.
_LINK = re.compile(r"[a-z]{2,}://\S|(?<![a-z0-9])(?:www\.[a-z0-9]|[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/[\w?#~])")
# Letters and marks that show nothing: fillers, an empty braille cell, variation selectors.
_BLANK = re.compile("[\u034f\u115f\u1160\u2800\u3164\uffa0\ufe00-\ufe0f]")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that is left out, and why."""

    image_key: str
    line: str
    reason: str


def drop_unfit(
    records: Records, max_characters: int, is_banned: Callable[[str], bool]
) -> tuple[Records, list[Dropped]]:
    """Leave out records whose line should not be learned, and pictures of which no line is left.

    Args:
        records: as they were read.
        max_characters: of a line; 0 = no bound.
        is_banned: whether a line has a word that must not be written.

    Returns:
        The others, and what was left out, in the order of the records.
    """
    fit, dropped = np.ones(len(records), np.bool_), []
    for index, line in enumerate(records.lines):
        reason = unfit(line, max_characters, is_banned)
        if reason is not None:
            fit[index] = False
            dropped.append(Dropped(records.pictures[records.picture_of[index]].key, line, reason))
    if not dropped:
        return records, dropped
    kept = records.keep(fit)
    log.warning(
        "%d of %d lines are left out, and with them %d of %d pictures",
        *(len(dropped), len(records), len(records.pictures) - len(kept.pictures), len(records.pictures)),
    )
    for reason, some in by_reason(dropped):
        shown = [f"{one.image_key} {one.line[:LOGGED_CHARACTERS]!r}" for one in some[:LOGGED_EXAMPLES]]
        log.warning("%d lines have %s, such as %s", len(some), reason, ", ".join(shown))
    return kept, dropped


def unfit(line: str, max_characters: int, is_banned: Callable[[str], bool]) -> str | None:
    """Why a line should not be learned, the first of several reasons; None where it may be."""
    if all(character.isspace() or unicodedata.category(character) == "Cf" for character in _BLANK.sub("", line)):
        return EMPTY
    if _CONTROL.search(line):
        return CONTROL
    if _UNREADABLE.search(line):
        return UNREADABLE
    if _LINK.search(unicodedata.normalize("NFKC", line).casefold()):
        return LINK
    if 0 < max_characters < len(line):
        return f"more than {max_characters} characters"
    return BANNED if is_banned(line) else None


def by_reason(dropped: Iterable[Dropped]) -> list[tuple[str, list[Dropped]]]:
    """What was left out for each reason, the most frequent first."""
    reasons: dict[str, list[Dropped]] = {}
    for one in dropped:
        reasons.setdefault(one.reason, []).append(one)
    return sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
