"""Train on the `train` split with the real `train`, answer the `dev` split with the real `serve`, and score the lines.

    python -m benchmarks.captioning.quality FOLDER --pretrained WEIGHTS_FOLDER --out build/quality NAME=VALUE …

FOLDER is a collection as benchmarks/captioning/data.py reads it; NAME=VALUE are hyperparameters. Training, export and
evaluation are timed together; each line goes through nginx, the 8-bit decoder and beam search, like anybody's request.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.captioning.data import Example, english_words, read_collection
from benchmarks.captioning.job import ROOT, encoded, go_on, lay_out, served, train
from benchmarks.machine import measured
from ogiri.captioning.training.metrics import caption_scores, variety

BEAMS = 5


def main() -> None:
    """Run, print a summary, write result.json and lines.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder with images/ and labels.jsonl, where not FOLDER")
    parser.add_argument("--pretrained", type=Path, required=True, help="folder with the encoder's weights")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    parser.add_argument("--language", choices=("en", "ja"), default="en")
    parser.add_argument("--no-training", action="store_true", help="score the model that lies in --out")
    parser.add_argument(
        "--go-on", action="store_true", help="from the checkpoint in --out: scst_epochs after the others"
    )
    parser.add_argument("hyperparameters", nargs="*")
    arguments = parser.parse_intermixed_args()
    pictures = arguments.pictures or arguments.folder
    examples, machine = read_collection(arguments.folder, pictures), measured()
    base = arguments.out.resolve()
    hyperparameters = {
        "encoder": "mobilenet_v2",
        "metric_tokens": "word" if arguments.language == "en" else "character",
        **dict(pair.split("=", 1) for pair in arguments.hyperparameters),
    }
    seconds = 0.0
    if arguments.go_on:
        go_on(base, hyperparameters)
    elif not arguments.no_training:
        items = records(examples, arguments.language)
        lay_out(base, pictures / "images", arguments.pretrained, items, hyperparameters)
    if not arguments.no_training:
        seconds = train(base)
    dev = [example for example in examples if example.split == "dev"]
    with served(base) as server:
        answers, milliseconds = server.captions([request(example, pictures / "images") for example in dev])
    lines = [str(captions[0]["text"]) for captions in answers]
    result = {
        **machine,
        "hyperparameters": hyperparameters,
        "train_seconds": round(seconds, 1),
        "beams": BEAMS,
        "pictures": len(dev),
        "milliseconds_per_line": round(milliseconds, 1),
        **score(lines, dev, examples, arguments.language),
    }
    (base / "result.json").write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    with (base / "lines.jsonl").open("w", encoding="utf-8") as file:
        for example, line in zip(dev, lines, strict=True):
            record = {"image": example.image, "line": line, "references": example.captions}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    print(json.dumps(result, ensure_ascii=False, indent=2))


def records(examples: list[Example], language: str) -> Iterator[dict[str, Any]]:
    """The records of the train split."""
    prepare = english_words if language == "en" else str
    for example in examples:
        if example.split == "train":
            for caption in dict.fromkeys(map(prepare, example.captions)):
                yield {"ImageKey": example.image, "ExpectedResult": caption, "Labels": example.labels}


def request(example: Example, images: Path) -> dict[str, Any]:
    """What is asked about a picture."""
    parameters = {"num_beams": BEAMS, "repetition_penalty": 1.0}
    return {"image": encoded(images / example.image), "labels": example.labels, "parameters": parameters}


def score(lines: list[str], dev: list[Example], examples: list[Example], language: str) -> dict[str, Any]:
    """Figures over all dev pictures, and what is left of them when the lines are given to other pictures."""
    tokens: Any = "word" if language == "en" else "character"
    prepare = english_words if language == "en" else str
    references = [[prepare(caption) for caption in example.captions] for example in dev]
    training = {prepare(caption) for example in examples if example.split == "train" for caption in example.captions}
    scores = caption_scores(lines, references, tokens)
    shuffled = caption_scores([*lines[1:], lines[0]], references, tokens)
    kinds = variety(lines, training, tokens)
    return {
        **{f"bleu_{n}": round(value, 2) for n, value in enumerate(scores.bleu, 1)},
        "cider": round(scores.cider, 4),
        "chrf": round(scores.chrf, 2),
        "shuffled_bleu_4": round(shuffled.bleu[3], 2),
        "shuffled_cider": round(shuffled.cider, 4),
        "unique": round(kinds.unique, 4),
        "copied": round(kinds.copied, 4),
    }


if __name__ == "__main__":
    main()
