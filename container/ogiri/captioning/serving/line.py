"""One line while it is written, and the rules that it obeys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ogiri.captioning.serving.banned import BannedWords
from ogiri.captioning.serving.vocabulary import BETWEEN, MAX_CHARACTER_TOKENS, Mask, Situation, Vocabulary
from ogiri.task import RequestError


@dataclass(frozen=True)
class Caption:
    """A finished line.

    Attributes:
        text: without white space around it, never empty.
        score: mean log-probability a token under the model's own distribution, the end token included, rounded to 4
            decimals.
        tokens: what was written, without begin and end.
    """

    text: str
    score: float
    tokens: tuple[int, ...]


class Line(NamedTuple):
    """An unfinished line; `Rules.extended` gives longer ones.

    Attributes:
        tokens: without begin and end.
        data: the bytes that the tokens stand for.
        place: where they end, see `vocabulary`.
        text: the whole characters among them, without white space in front.
        log_probability: sum over the tokens.
    """

    tokens: tuple[int, ...] = ()
    data: bytes = b""
    place: int = BETWEEN
    text: str = ""
    log_probability: float = 0.0


class Rules:
    """What every line of a request must be like.

    A line has `min_length` to `max_length` characters, white space around it not counted, is valid UTF-8 without
    control characters, and has none of the banned words. Banned words win over `min_length`: a line that could only go
    on with one ends.
    """

    def __init__(
        self, vocabulary: Vocabulary, min_length: int, max_length: int, max_tokens: int, banned: BannedWords
    ) -> None:
        """Args: max_tokens: the end token not counted; at least `min_length`."""
        self.vocabulary = vocabulary
        self.end = vocabulary.end
        self._min_length, self._max_length, self._max_tokens = min_length, max_length, max_tokens
        self._banned = banned

    def forbidden(self, line: Line) -> Mask:
        """The tokens that must not come next: (vocabulary,), read-only. `allows` is the rest of the check."""
        between = line.place == BETWEEN
        missing = self._min_length - len(line.text.rstrip())
        tokens_left = self._max_tokens - len(line.tokens)
        return self.vocabulary.forbidden(
            Situation(
                place=line.place,
                characters_left=self._max_length - len(line.text) - (not between),
                tokens_left=tokens_left,
                short=missing > 0,
                hurry=missing > 0 and tokens_left - missing <= MAX_CHARACTER_TOKENS,
                may_end=between and missing <= 0,
            )
        )

    def allows(self, line: Line, token: int) -> bool:
        """Whether the line with this token has no banned word."""
        return not self._banned or not self._banned.found_in(self.extended(line, token, 0.0).text)

    def extended(self, line: Line, token: int, log_probability: float) -> Line:
        """The line and one more token."""
        data = line.data + self.vocabulary.surfaces[token]
        return Line(
            (*line.tokens, token),
            data,
            self.vocabulary.place_after(line.place, token),
            data.decode("utf-8", "ignore").lstrip(),  # ignored is only an unfinished character at the end
            line.log_probability + log_probability,
        )

    def caption(self, line: Line, end_log_probability: float) -> Caption:
        """The line, ended here.

        Raises:
            RequestError: there is nothing in it, because every token was forbidden.
        """
        text = line.text.rstrip()
        if not text:
            raise RequestError(
                "banned_words, min_length and max_length leave no line to write: ban less or allow more characters",
                "invalid_parameter",
            )
        score = (line.log_probability + end_log_probability) / (len(line.tokens) + 1)
        return Caption(text, round(score, 4) + 0.0, line.tokens)  # no -0.0
