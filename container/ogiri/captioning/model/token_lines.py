"""Tokens of many lines in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import overload

import numpy as np
import numpy.typing as npt


class TokenLines(Sequence[list[int]]):
    """Lines of tokens; the list of one is made when it is asked for.

    Attributes:
        tokens: int32 (tokens,), of all lines one after the other.
        ends: int64 (lines + 1,), 0 and where each line ends in `tokens`.
    """

    def __init__(self, tokens: npt.NDArray[np.int32], ends: npt.NDArray[np.int64]) -> None:
        self.tokens, self.ends = tokens, ends

    @classmethod
    def of(cls, lines: Sequence[Sequence[int]]) -> TokenLines:
        """The same lines in one array."""
        ends = np.zeros(len(lines) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)), out=ends[1:])
        return cls(np.fromiter(chain.from_iterable(lines), np.int32, int(ends[-1])), ends)

    @classmethod
    def joined(cls, parts: Iterable[TokenLines]) -> TokenLines:
        """The lines of several, one after the other."""
        parts = [cls.of([]), *parts]
        shifts = np.cumsum([0, *(len(part.tokens) for part in parts[:-1])])
        ends = [part.ends[1:] + shift for part, shift in zip(parts, shifts, strict=True)]
        return cls(np.concatenate([part.tokens for part in parts]), np.concatenate([np.zeros(1, np.int64), *ends]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"line {index} of {len(self)}")
        line: list[int] = self.array(index % len(self)).tolist()
        return line

    def __iter__(self) -> Iterator[list[int]]:
        return map(self.__getitem__, range(len(self)))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each line: (lines,)."""
        return np.diff(self.ends)

    def array(self, index: int) -> npt.NDArray[np.int32]:
        """The tokens of one line, counted from 0: (tokens,)."""
        return self.tokens[self.ends[index] : self.ends[index + 1]]

    def part(self, start: int, end: int) -> TokenLines:
        """Some lines that stand together."""
        ends = self.ends[start : end + 1]
        return TokenLines(self.tokens[ends[0] : ends[-1]], ends - ends[0])

    def cut(self, most: int) -> TokenLines:
        """The same lines, of each at most so many tokens."""
        lengths = self.lengths
        if lengths.max(initial=0) <= most:
            return self
        place = np.arange(len(self.tokens), dtype=np.int64) - np.repeat(self.ends[:-1], lengths)
        ends = np.zeros_like(self.ends)
        np.cumsum(np.minimum(lengths, most), out=ends[1:])
        return TokenLines(self.tokens[place < most], ends)
