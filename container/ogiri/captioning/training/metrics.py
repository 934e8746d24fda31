"""Figures for generated lines against reference lines.

BLEU and chrF are sacrebleu's, CIDEr-D is ours (`cider`). What counts as a token is fixed by `segment`, since the same
Japanese lines move from CIDEr 0.7 to 1.7 between two segmenters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from ogiri.captioning.training.cider import NGRAM, CiderD

Tokens = Literal["character", "word"]
_EDGE_PUNCTUATION = ".,!?;:'\"`()-"


def segment(text: str, tokens: Tokens) -> list[str]:
    """Characters without white space; or lower-cased words without punctuation, as the English literature does."""
    if tokens == "character":
        return [character for character in text if not character.isspace()]
    words = (word.strip(_EDGE_PUNCTUATION) for word in text.lower().split())
    return [word for word in words if word]


@dataclass(frozen=True)
class CaptionScores:
    """Corpus figures: `bleu` holds BLEU-1 to BLEU-4 in percent, `cider` is 1.0 for 100 %, `chrf` is chrF2."""

    bleu: tuple[float, float, float, float]
    cider: float
    chrf: float


def caption_scores(generated: Sequence[str], references: Sequence[Sequence[str]], tokens: Tokens) -> CaptionScores:
    """Score one line a picture against all of its references.

    Raises:
        ValueError: no pictures, or a picture without a reference.
    """
    if not generated or len(generated) != len(references) or not all(references):
        raise ValueError("every picture needs one generated line and at least one reference")
    hypotheses = [" ".join(segment(line, tokens)) for line in generated]
    segmented = [[" ".join(segment(line, tokens)) for line in lines] for lines in references]
    score = BLEU(tokenize="none", smooth_method="none", force=True).corpus_score(hypotheses, _streams(segmented))
    return CaptionScores(
        bleu=_cumulative(score.precisions, score.bp),
        cider=cider_d([h.split() for h in hypotheses], [[line.split() for line in lines] for lines in segmented]),
        chrf=float(CHRF(word_order=0, beta=2).corpus_score(list(generated), _streams(references)).score),
    )


def line_chrf(line: str, references: Sequence[str]) -> float:
    """ChrF2 of one line against the best of its references, 0 to 100: which pictures went well, and which did not."""
    return float(CHRF(word_order=0, beta=2).sentence_score(line, list(references)).score)


def bleu_mecab(generated: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU-4 in percent with sacrebleu's ja-mecab tokens."""
    return float(BLEU(tokenize="ja-mecab", force=True).corpus_score(list(generated), _streams(references)).score)


def cider_d(generated: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """Mean CIDEr-D of segmented lines, with document frequencies from these references."""
    cider = CiderD(references)
    return float(np.mean([cider.score(picture, line) for picture, line in enumerate(generated)]))


@dataclass(frozen=True)
class Variety:
    """How different the generated lines are.

    Attributes:
        distinct_1, distinct_2: distinct n-grams / n-grams over all lines (Li et al. 2016).
        self_bleu: mean BLEU-4 of each line against all others, in percent; high = all alike.
        unique: distinct lines / lines.
        copied: share of lines that stand in the training data word for word.
    """

    distinct_1: float
    distinct_2: float
    self_bleu: float
    unique: float
    copied: float


def variety(generated: Sequence[str], training_lines: set[str], tokens: Tokens, sample: int = 100) -> Variety:
    """See `Variety`; self-BLEU is taken over the first `sample` lines."""
    segmented = [segment(line, tokens) for line in generated]
    few = [" ".join(words) for words in segmented[:sample]]
    bleu = BLEU(tokenize="none", effective_order=True, smooth_method="exp")
    alike = [bleu.sentence_score(few[i], few[:i] + few[i + 1 :]).score for i in range(len(few))] if len(few) > 1 else []
    return Variety(
        distinct_1=_distinct(segmented, 1),
        distinct_2=_distinct(segmented, 2),
        self_bleu=float(np.mean(alike)) if alike else 0.0,
        unique=len(set(generated)) / max(1, len(generated)),
        copied=sum(line in training_lines for line in generated) / max(1, len(generated)),
    )


def _streams(references: Sequence[Sequence[str]]) -> Any:
    """Sacrebleu's form: the first references of all pictures, then the second ones, None where there are fewer."""
    most = max(len(lines) for lines in references)
    return [[lines[i] if i < len(lines) else None for lines in references] for i in range(most)]


def _distinct(segmented: Sequence[Sequence[str]], n: int) -> float:
    grams = [tuple(words[i : i + n]) for words in segmented for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _cumulative(precisions: Sequence[float], brevity: float) -> tuple[float, float, float, float]:
    means = []
    for n in range(1, NGRAM + 1):
        first = precisions[:n]
        mean = 0.0 if min(first) <= 0 else math.exp(sum(math.log(p) for p in first) / n)
        means.append(brevity * mean)
    return means[0], means[1], means[2], means[3]
