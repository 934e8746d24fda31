"""Which of the lines that were written come back, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ogiri.captioning.serving.line import Caption

LIKELIHOOD, RELEVANCE, LENGTH_DEBIASED = RANKINGS = ("likelihood", "relevance", "length_debiased")

RELEVANCE_WEIGHT = 0.3
"""How much of a line's log-probability with nothing known is taken off the one beside its picture: λ of Li et al. 2016
(arXiv:1510.03055). 0 would be the likelihood, 1 the pointwise mutual information of line and picture. Of eight sampled
lines each, the chosen ones for 1,000 Flickr8k pictures had CIDEr 0.397 and distinct-2 0.142 with 0, 0.402 and 0.156
with 0.3, 0.389 and 0.176 with 0.5, 0.329 and 0.282 with 1; one at random 0.280 and 0.235."""

LENGTH_EXPONENT = 1.05
"""`length_debiased` is log-probability / tokens ** this. Among the sampled lines of a picture the mean a token (1.0)
falls with their length, r = -0.10, -0.11 and -0.15 for three models (Flickr8k, 641 pictures with Japanese captions, 208
drawn ones); with 1.05 r = -0.03, 0.00 and 0.07. Beams want another one (`beam.LENGTH_EXPONENT`): they look for the most
likely long line, sampling does not."""

_DIGITS = 4  # as scores have, so that noise in the last bits of the logits changes no order

Unconditional = Mapping[tuple[int, ...], float]


def relevance(caption: Caption, unconditional: float, weight: float = RELEVANCE_WEIGHT) -> float:
    """What the picture adds to a line: how likely it is beside the picture, less how likely it is of itself.

    Args:
        caption: with its score, the mean log-probability a token.
        unconditional: the same mean with nothing known.
        weight: of the second.
    """
    return caption.score - weight * unconditional


def length_debiased(caption: Caption, exponent: float = LENGTH_EXPONENT) -> float:
    """The score, corrected until it no longer goes with the length of sampled lines.

    Args:
        caption: with its score, the mean log-probability a token.
        exponent: 1 gives the score, 0 the log-probability of the whole line; the greater, the longer the best lines.
    """
    return caption.score * float((len(caption.tokens) + 1) ** (1.0 - exponent))


def measure(ranking: str, unconditional: Unconditional) -> Callable[[Caption], float]:
    """What `ranking` compares lines by, the greater the better.

    Args:
        ranking: one of `RANKINGS`.
        unconditional: tokens → mean log-probability with nothing known, of each line; only `relevance` looks at it.
    """
    if ranking == RELEVANCE:
        return lambda caption: relevance(caption, unconditional[caption.tokens])
    if ranking == LENGTH_DEBIASED:
        return length_debiased
    return lambda caption: caption.score


def best(captions: Sequence[Caption], count: int, rank: Callable[[Caption], float]) -> list[Caption]:
    """Exactly `count` captions, best first.

    They are the best with different texts. Where there are fewer of these, equal ones come too, and then the best ones
    again.

    Args:
        captions: at least one.
        count: how many come back.
        rank: the greater, the better.
    """

    def key(caption: Caption) -> tuple[float, float, tuple[int, ...]]:  # the same order for equal ranks, always
        return -round(rank(caption), _DIGITS), -caption.score, caption.tokens

    if len({caption.tokens for caption in captions}) == 1:
        return [captions[0]] * count  # nothing to compare, so nobody has found out what to compare by
    different: list[Caption] = []
    equal: list[Caption] = []
    texts: set[str] = set()
    for caption in sorted(captions, key=key):
        (equal if caption.text in texts else different).append(caption)
        texts.add(caption.text)
    return sorted(((different + equal) * count)[:count], key=key)
