"""Free-running evaluation: lines for held-out pictures, written by the artifact's own engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ogiri.captioning.data.pictures import Picture
from ogiri.captioning.model.conditioning import Conditions
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.training.metrics import Tokens, bleu_mecab, caption_scores, line_chrf, variety
from ogiri.captioning.training.quality import nats_per_token

METRIC_BEAMS = 3
CANDIDATES = 3
MAX_EVALUATED_PICTURES = 500
COLLAPSED_BELOW = 0.5  # distinct lines / lines
COPIED_ABOVE = 0.5
MIN_GAP = 0.01  # nats a token, relative, that shuffling must cost

METRIC_PARAMETERS = Parameters(num_beams=METRIC_BEAMS, repetition_penalty=1.0)
SAMPLE_PARAMETERS = Parameters(num_candidates=CANDIDATES, seed=0)


@dataclass(frozen=True)
class EvaluationSet:
    """Pictures to write lines for.

    Attributes:
        split: `validation`, or `train` where nothing was held out.
        pictures: with their labels and text.
        maps: (pictures, cells, channels).
        conditions: of each picture.
        references: the lines people wrote.
    """

    split: str
    pictures: Sequence[Picture]
    maps: npt.NDArray[np.generic]
    conditions: Sequence[Conditions]
    references: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Attributes:
        metrics: for metrics.json.
        samples: for samples.jsonl, one for each picture.
        warnings: in plain words.
        tokens: of each picture's `generated` line.
    """

    metrics: dict[str, Any]
    samples: list[dict[str, Any]]
    warnings: list[str]
    tokens: list[tuple[int, ...]]


def evaluate(
    captioner: Captioner,
    data: EvaluationSet,
    training_lines: set[str],
    tokens: Tokens,
    stopping: Callable[[], bool],
) -> Evaluation | None:
    """Beam search for the metrics, sampling as served for the variety; None when the job was asked to end meanwhile."""

    def write(
        maps: npt.NDArray[np.generic], conditions: Sequence[Conditions], how: Parameters
    ) -> list[list[Caption]] | None:
        lines = captioner.captions(maps, conditions, how, stopping=stopping)
        return lines if len(lines) == len(conditions) else None

    best = write(data.maps, data.conditions, METRIC_PARAMETERS)
    sampled = write(data.maps, data.conditions, SAMPLE_PARAMETERS)
    others = np.roll(np.arange(len(data.pictures)), 1).tolist()
    wrong_picture = write(data.maps[others], data.conditions, METRIC_PARAMETERS)
    wrong_conditions = write(data.maps, [data.conditions[i] for i in others], METRIC_PARAMETERS)
    if best is None or sampled is None or wrong_picture is None or wrong_conditions is None:
        return None
    nats = _nats(captioner, data, others)
    lines = [captions[0].text for captions in best]
    drawn = [captions[0].text for captions in sampled]
    scores = _scores(lines, data.references, tokens)
    shuffled = {
        "picture": _scores([captions[0].text for captions in wrong_picture], data.references, tokens),
        "labels_and_text": _scores([captions[0].text for captions in wrong_conditions], data.references, tokens),
        "everything": _scores([lines[i] for i in others], data.references, tokens),
    }
    kinds = {
        "beam": asdict(variety(lines, training_lines, tokens)),
        "sampled": asdict(variety(drawn, training_lines, tokens)),
    }
    metrics = {
        "split": data.split,
        "pictures": len(lines),
        "tokens": tokens,
        "beams": METRIC_BEAMS,
        **scores,
        "shuffled": shuffled,
        "nats_per_token": nats,
        "picture_shuffle_gap": {
            **{name: scores[name] - shuffled["picture"][name] for name in ("chrf", "cider")},
            "nats_per_token": nats["shuffled_picture"] - nats["right"],
        },
        "variety": kinds,
    }
    samples = [
        {
            "image_key": picture.key,
            "split": data.split,
            "labels": [{"Name": label.name, "Confidence": label.confidence} for label in picture.labels],
            "detected_text": picture.detected_text,
            "references": list(references),
            "generated": line,
            "chrf": line_chrf(line, references),
            "candidates": [{"text": caption.text, "score": caption.score} for caption in captions],
        }
        for picture, references, line, captions in zip(data.pictures, data.references, lines, sampled, strict=True)
    ]
    return Evaluation(metrics, samples, _warnings(metrics), [captions[0].tokens for captions in best])


def _nats(captioner: Captioner, data: EvaluationSet, others: Sequence[int]) -> dict[str, float]:
    """Nats a token of people's lines, beside what belongs to them and beside what belongs to another picture.

    Less noisy than any score of generated lines, where few pictures are held out.
    """
    tokenizer = captioner.tokenizer
    picture_of = np.repeat(np.arange(len(data.pictures)), [len(lines) for lines in data.references])
    lines = [tokenizer.encode(line)[: captioner.max_tokens] for references in data.references for line in references]
    other = np.asarray(others)

    def cost(maps_of: npt.NDArray[np.int64], conditions_of: npt.NDArray[np.int64]) -> float:
        conditions = [data.conditions[i] for i in conditions_of.tolist()]
        return nats_per_token(captioner.engine, data.maps, maps_of, conditions, lines, tokenizer.bos, tokenizer.eos)

    return {
        "right": cost(picture_of, picture_of),
        "shuffled_picture": cost(other[picture_of], picture_of),
        "shuffled_labels_and_text": cost(picture_of, other[picture_of]),
        "shuffled_everything": cost(other[picture_of], other[picture_of]),
    }


def _scores(lines: Sequence[str], references: Sequence[Sequence[str]], tokens: Tokens) -> dict[str, float]:
    scores = caption_scores(lines, references, tokens)
    named = {f"bleu_{n}": value for n, value in enumerate(scores.bleu, 1)}
    named |= {"cider": scores.cider, "chrf": scores.chrf}
    if tokens == "character":
        named["bleu_ja_mecab"] = bleu_mecab(lines, references)
    return named


def _warnings(metrics: dict[str, Any]) -> list[str]:
    warnings = []
    unique = metrics["variety"]["beam"]["unique"]
    if metrics["pictures"] > 1 and unique < COLLAPSED_BELOW:
        warnings.append(
            f"collapsed: only {unique:.0%} of the lines for different pictures differ. "
            "Train longer, or bring more varied lines"
        )
    nats = metrics["nats_per_token"]
    for shuffled, what in (("shuffled_everything", "picture, labels and text are"), ("shuffled_picture", "picture is")):
        if metrics["pictures"] > 1 and nats[shuffled] - nats["right"] < MIN_GAP * nats["right"]:
            warnings.append(
                f"the {what} not used: people's lines cost {nats['right']:.3f} nats a token with what belongs to them "
                f"and {nats[shuffled]:.3f} with another's"
            )
            break
    copied = metrics["variety"]["sampled"]["copied"]
    if copied > COPIED_ABOVE and metrics["split"] == "validation":
        warnings.append(f"copied: {copied:.0%} of the sampled lines stand in the training data word for word")
    return warnings
