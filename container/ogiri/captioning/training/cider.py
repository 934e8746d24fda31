"""CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726) against fixed references that are prepared once.

Equal to pycocoevalcap's, which cannot be had without a Java tokenizer and 100 MB of jars.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NGRAM = 4
SIGMA = 6.0  # of the penalty on a difference in length, in tokens
SCALE = 10.0

Gram = tuple[str, ...]


@dataclass(frozen=True)
class _Vector:
    """TF-IDF weights of a line's n-grams, the norm of each order of n, and the line's length."""

    weights: dict[Gram, float]
    norms: tuple[float, ...]
    length: int


class CiderD:
    """Scores segmented lines; document frequencies come from the references."""

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        """Args: references: tokens of the lines of each picture."""
        self._documents: Counter[Gram] = Counter()
        for lines in references:
            self._documents.update({gram for line in lines for gram in _ngrams(line)})
        self._log_pictures = math.log(max(len(references), 1))
        self._references = [[self._vector(line) for line in lines] for lines in references]

    def score(self, picture: int, line: Sequence[str]) -> float:
        """CIDEr-D of one line for the picture of this index; 1.0 is what papers write as 100."""
        return _mean_similarity(self._vector(line), self._references[picture])

    def agreement(self, picture: int) -> list[float]:
        """CIDEr-D of each reference of a picture against its other ones; 0 where it is the only one."""
        lines = self._references[picture]
        return [_mean_similarity(line, lines[:index] + lines[index + 1 :]) for index, line in enumerate(lines)]

    def _vector(self, line: Sequence[str]) -> _Vector:
        weights = {
            gram: count * (self._log_pictures - math.log(max(1, self._documents[gram])))
            for gram, count in _ngrams(line).items()
        }
        squares = [0.0] * NGRAM
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        return _Vector(weights, tuple(math.sqrt(square) for square in squares), len(line))


def _mean_similarity(mine: _Vector, others: Sequence[_Vector]) -> float:
    total = 0.0
    for other in others:
        shared = [0.0] * NGRAM
        for gram, weight in mine.weights.items():
            theirs = other.weights.get(gram)
            if theirs is not None:
                shared[len(gram) - 1] += min(weight, theirs) * theirs
        similarity = sum(s / (a * b) for s, a, b in zip(shared, mine.norms, other.norms, strict=True) if s > 0)
        total += similarity * math.exp(-((mine.length - other.length) ** 2) / (2 * SIGMA**2))
    return SCALE * total / NGRAM / max(len(others), 1)


def _ngrams(line: Sequence[str]) -> Counter[Gram]:
    return Counter(tuple(line[i : i + n]) for n in range(1, NGRAM + 1) for i in range(len(line) - n + 1))
