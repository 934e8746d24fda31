"""Humorous captions with scores: what a model makes of them, and what asking for a better score changes.

    python -m benchmarks.captioning.humour NEWYORKER --pretrained WEIGHTS_FOLDER --out build/humour NAME=VALUE …

NEWYORKER holds `images/` and `captions.jsonl` (image, caption, score, set `top` or `random`). Every tenth cartoon is
kept out of training altogether. Whether a line is funny is not measured: nobody can. What is measured on the cartoons
kept out, through the served artifact:

- what a wrong cartoon costs, in nats a token of people's lines (the shuffle gap), and how varied and copied lines are;
- what `score` and `length` do to the lines that are written;
- how well people's `top` lines are told from their `random` ones (area under the ROC curve, 0.5 = chance) by the score
  control, log p(line | score 4) - log p(line | score 0), by the plain log-probability, and by the length alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.captioning.job import ROOT, Server, encoded, lay_out, served, train
from benchmarks.machine import measured
from ogiri import picture
from ogiri.artifact import open_artifact
from ogiri.captioning.model.controls import LENGTHS, SCORE_LEVELS, control_array
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.training.metrics import variety
from ogiri.captioning.training.quality import line_nats, nats_per_token

HELD_OUT_EVERY = 10
CANDIDATES = 16
SHOWN = 3  # samples of each cartoon and setting

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """What somebody wrote under a cartoon."""

    image: str
    text: str
    score: float
    top: bool


def main() -> None:
    """Run, print a summary, write result.json and lines.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pretrained", type=Path, required=True, help="folder with the encoder's weights")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "humour")
    parser.add_argument("--no-training", action="store_true", help="ask the model that lies in --out")
    parser.add_argument("hyperparameters", nargs="*")
    arguments = parser.parse_intermixed_args()
    base, machine = arguments.out.resolve(), measured()
    lines = read_lines(arguments.folder)
    cartoons = sorted({line.image for line in lines})
    held_out = cartoons[::HELD_OUT_EVERY]
    hyperparameters = {
        "encoder": "mobilenet_v2",
        "metric_tokens": "word",
        **dict(pair.split("=", 1) for pair in arguments.hyperparameters),
    }
    seconds = 0.0
    if not arguments.no_training:
        items = (record(line) for line in lines if line.image not in held_out)
        lay_out(base, arguments.folder / "images", arguments.pretrained, items, hyperparameters)
        seconds = train(base)
    theirs = [line for line in lines if line.image in held_out]
    training = {line.text for line in lines if line.image not in held_out}
    with served(base) as server:
        written = {
            name: write(server, arguments.folder / "images", held_out, parameters)
            for name, parameters in settings().items()
        }
    manifest = open_artifact(base / "model").manifest
    captioner = open_captioner(base / "model", manifest)
    pictures = [arguments.folder / "images" / image for image in held_out]
    maps = encode(captioner, pictures, manifest["preprocessing"]["size"])
    result = {
        **machine,
        "hyperparameters": hyperparameters,
        "train_seconds": round(seconds, 1),
        "held_out_cartoons": len(held_out),
        "nats_per_token": shuffle_gap(captioner, maps, held_out, theirs),
        "settings": {name: describe(captions, training) for name, captions in written.items()},
        "people": describe([[{"text": line.text}] for line in theirs], training),
        "top_against_random_auc": ranking_power(captioner, maps, held_out, theirs),
    }
    (base / "result.json").write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    with (base / "lines.jsonl").open("w", encoding="utf-8") as file:
        for number, image in enumerate(held_out):
            samples = {name: [c["text"] for c in captions[number][:SHOWN]] for name, captions in written.items()}
            file.write(json.dumps({"image": image, **samples}, ensure_ascii=False) + "\n")
    print(json.dumps(result, ensure_ascii=False, indent=2))


def read_lines(folder: Path) -> list[Line]:
    """All lines of the collection."""
    rows = (json.loads(row) for row in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines())
    return [Line(row["image"], row["caption"], float(row["score"]), row["set"] == "top") for row in rows]


def record(line: Line) -> dict[str, Any]:
    """A line as the table has it."""
    return {"ImageKey": line.image, "ExpectedResult": line.text, "Score": line.score}


def settings() -> dict[str, dict[str, Any]]:
    """Request parameters by name: nothing asked for, each score, each length."""
    asked: dict[str, dict[str, Any]] = {"plain": {}}
    asked |= {f"score {level}": {"score": level} for level in range(SCORE_LEVELS)}
    return asked | {f"length {name}": {"length": name} for name in LENGTHS}


def write(server: Server, images: Path, held_out: Sequence[str], parameters: dict[str, Any]) -> list[list[Any]]:
    """Candidates for each cartoon, from the same random numbers whatever is asked for."""
    parameters = {"num_candidates": CANDIDATES, "seed": 0, **parameters}
    answers, _ = server.captions([{"image": encoded(images / image), "parameters": parameters} for image in held_out])
    return answers


def describe(captions: Sequence[Sequence[dict[str, Any]]], training: set[str]) -> dict[str, float]:
    """Length, variety and copying of lines."""
    texts = [caption["text"] for candidates in captions for caption in candidates]
    kinds = variety(texts, training, "word")
    figures = {
        "lines": len(texts),
        "mean_characters": float(np.mean([len(text) for text in texts])),
        "distinct_1": kinds.distinct_1,
        "distinct_2": kinds.distinct_2,
        "self_bleu": kinds.self_bleu,
        "unique": kinds.unique,
        "copied": kinds.copied,
    }
    scores = [caption["score"] for candidates in captions for caption in candidates if "score" in caption]
    return {name: round(value, 3) for name, value in figures.items()} | (
        {"mean_score": round(float(np.mean(scores)), 3)} if scores else {}
    )


def encode(captioner: Captioner, paths: Sequence[Path], size: int) -> npt.NDArray[np.float32]:
    """Feature maps of the cartoons, by the encoder that is served."""
    return np.concatenate([captioner.engine.encode(picture.load(path.read_bytes(), size)[None]) for path in paths])


def shuffle_gap(
    captioner: Captioner, maps: npt.NDArray[np.float32], held_out: Sequence[str], lines: Sequence[Line]
) -> dict[str, float]:
    """Nats a token of people's lines beside their own cartoon, and beside the next one."""
    rows = np.array([held_out.index(line.image) for line in lines])
    nothing = captioner.conditions((), "")
    tokenizer = captioner.tokenizer
    tokens = [tokenizer.encode(line.text)[: captioner.max_tokens] for line in lines]

    def cost(rows: npt.NDArray[np.int64]) -> float:
        conditions = [nothing] * len(lines)
        return nats_per_token(captioner.engine, maps, rows, conditions, tokens, tokenizer.bos, tokenizer.eos)

    right, wrong = cost(rows), cost((rows + 1) % len(held_out))
    return {"right": round(right, 4), "shuffled": round(wrong, 4), "gap": round(wrong - right, 4)}


def ranking_power(
    captioner: Captioner, maps: npt.NDArray[np.float32], held_out: Sequence[str], lines: Sequence[Line]
) -> dict[str, float]:
    """How well each figure tells top lines from random ones of the same cartoon, over all such pairs."""
    rows = np.array([held_out.index(line.image) for line in lines])
    tokenizer = captioner.tokenizer
    tokens = [tokenizer.encode(line.text)[: captioner.max_tokens] for line in lines]
    counts = np.array([len(line) + 1 for line in tokens])

    def log_probability(score: int | None) -> Floats:
        conditions = [replace(captioner.conditions((), ""), controls=control_array(score))] * len(lines)
        return -line_nats(captioner.engine, maps, rows, conditions, tokens, tokenizer.bos, tokenizer.eos) / counts

    control = log_probability(SCORE_LEVELS - 1) - log_probability(0)
    top = np.array([line.top for line in lines])
    lengths = np.array([len(line.text) for line in lines], float)
    figures = {"score_control": control, "log_probability": log_probability(None), "shortness": -lengths}
    rates = {
        name: np.mean([area(values[rows == n], top[rows == n]) for n in range(len(held_out))])
        for name, values in figures.items()
    }
    correlation = np.corrcoef(control, lengths)[0, 1]
    return {
        **{name: round(float(rate), 3) for name, rate in rates.items()},
        "correlation_of_score_control_and_length": round(float(correlation), 3),
    }


def area(values: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the share of pairs that stand in the right order, ties counted half."""
    difference = values[positive][:, None] - values[~positive][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


if __name__ == "__main__":
    main()
