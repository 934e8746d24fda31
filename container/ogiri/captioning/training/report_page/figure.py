"""The main figures of a job, each with what it means; the page and the model card show the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FEW_PICTURES = 50  # below, chance moves the figures more than most changes to a model do


@dataclass(frozen=True)
class Figure:
    """A number, written out, and what it means in plain words."""

    name: str
    value: str
    meaning: str


def number(value: float | None) -> str:
    """As many digits as matter: `0.449`, `30.8`, and all of a whole number: `28,453`."""
    if value is None:
        return "–"
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def several(count: int, noun: str) -> str:
    """`no groups`, `1 group`, `1,200 groups`."""
    return f"{number(count) if count else 'no'} {noun}{'s' * (count != 1)}"


def hundredth(value: float) -> str:
    """A score of at most 100: `9.8`."""
    return f"{value:.1f}"


def share(value: float) -> str:
    """A percentage: `76 %`, with a decimal where it is close to nothing or all."""
    percent = 100 * value
    digits = 1 if 0 < percent < 1 or 99 < percent < 100 else 0
    return f"{percent:.{digits}f}\N{NO-BREAK SPACE}%"


def size(count: float) -> str:
    """Bytes in MB: `12.9 MB`."""
    return f"{count / 1e6:,.1f} MB"


def measured_on(figures: Mapping[str, Any]) -> str:
    """Which pictures the figures are of, and how far they can be trusted."""
    free = figures["free_running"]
    if free is None:
        return "Nothing was measured after training: the job was asked to end early."
    pictures = free["pictures"]
    few = f" So few pictures say little: below {FEW_PICTURES}, chance moves the figures." * (pictures < FEW_PICTURES)
    if free["split"] != "validation":
        return (
            f"Measured on {number(pictures)} pictures of the training itself, as none were held out: this says how "
            "well it repeats, not how well it answers a new picture."
        )
    most = " (the first of them)" if pictures < figures["validation_pictures"] else ""
    return (
        f"Measured on {number(pictures)} pictures that were held out of training{most}, with the artifact's own engine "
        f"and {free['beams']} beams.{few}"
    )


def main_figures(figures: Mapping[str, Any]) -> list[Figure]:
    """What a reader should look at first, the most telling first."""
    found = []
    free = figures["free_running"]
    if free is not None:
        found += _of_lines(figures, free)
    if "validation_nats_per_character" in figures:
        found.append(
            Figure(
                "Nats a character",
                number(figures["validation_nats_per_character"]),
                "how surprised it is by a character that people wrote for a held-out picture. Lower is better; models "
                "with different tokenizers can be compared by it",
            )
        )
    elif "train_loss" in figures:
        found.append(
            Figure(
                "Training loss",
                number(figures["train_loss"]),
                "in nats a token, with dropout and label smoothing: of lines that it was shown, not of new ones",
            )
        )
    return found


def _of_lines(figures: Mapping[str, Any], free: Mapping[str, Any]) -> list[Figure]:
    gap = free["picture_shuffle_gap"]["nats_per_token"]
    nats = free["nats_per_token"]
    unit = {"character": "characters", "word": "words"}[free["tokens"]]
    found = [
        Figure(
            "What the picture is worth",
            f"{number(gap)} nats",
            "how much more people's lines surprise it, a token, when another picture stands beside them "
            f"({number(nats['right'])} → {number(nats['shuffled_picture'])}). Near 0: it does not look",
        ),
        Figure(
            "Nats a token",
            number(nats["right"]),
            "how surprised it is by a token that people wrote. Lower is better; a guess among all "
            f"{number(figures['vocabulary'])} tokens costs {number(math.log(figures['vocabulary']))}",
        ),
        Figure(
            "CIDEr",
            number(free["cider"]),
            f"how much of what is special in people's lines for a picture comes back, in {unit}: 0 = nothing, "
            "10 = the same lines",
        ),
        Figure(
            "BLEU-4",
            hundredth(free["bleu_4"]),
            f"of 100: how many runs of up to four {unit} stand in people's lines for the same picture too",
        ),
    ]
    if "bleu_ja_mecab" in free:
        found.append(
            Figure("BLEU ja-mecab", hundredth(free["bleu_ja_mecab"]), "of 100: the same in words that MeCab finds")
        )
    variety = free["variety"]
    return [
        *found,
        Figure(
            "chrF2",
            hundredth(free["chrf"]),
            "of 100: how many runs of up to six characters it shares with people's lines, and they with it",
        ),
        Figure(
            "Different lines",
            share(variety["beam"]["unique"]),
            "of the lines for different pictures, by beam search. Low: it says the same to everything",
        ),
        Figure(
            "Copied lines",
            share(variety["sampled"]["copied"]),
            "of the sampled lines stand in the training data word for word",
        ),
    ]
