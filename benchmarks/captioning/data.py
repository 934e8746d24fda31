"""Caption collections on disk → pictures with their lines and labels.

A folder holds `images/` and either `captions.tsv` (image, split, n, caption) or `captions.jsonl` (image, split,
captions), and optionally `labels.jsonl` (image, labels in Rekognition's form).

    python -m benchmarks.captioning.data FOLDER rows.csv     # for `make demo CSV=rows.csv IMAGES=FOLDER/images`
"""

from __future__ import annotations

import argparse
import csv
import json
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PUNCTUATION = str.maketrans("", "", string.punctuation.replace("'", ""))


@dataclass
class Example:
    """One picture: its file name, split, lines and labels."""

    image: str
    split: str
    captions: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)


def read_collection(folder: Path, pictures: Path | None = None) -> list[Example]:
    """All pictures of a collection, in the order of their names.

    Args:
        folder: with the captions.
        pictures: with `images/` and `labels.jsonl`, where they lie elsewhere.
    """
    examples: dict[str, Example] = {}
    for row in _rows(folder):
        example = examples.setdefault(row["image"], Example(row["image"], row["split"]))
        example.captions += row["captions"]
    labels = (pictures or folder) / "labels.jsonl"
    if labels.is_file():
        for line in labels.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["image"] in examples:
                examples[row["image"]].labels = row["labels"]
    return [examples[name] for name in sorted(examples)]


def english_words(caption: str) -> str:
    """Lower case, no punctuation, as the papers on Flickr8k have it."""
    return " ".join(caption.lower().translate(_PUNCTUATION).split())


def _rows(folder: Path) -> list[dict[str, Any]]:
    table, lines = folder / "captions.tsv", folder / "captions.jsonl"
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return [{**row, "captions": [row["caption"]]} for row in reader]
    if lines.is_file():
        return [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    raise SystemExit(f"{folder} holds neither captions.tsv nor captions.jsonl")


def main() -> None:
    """Write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("csv", type=Path)
    arguments = parser.parse_args()
    with arguments.csv.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_url", "expected_result"])
        for example in read_collection(arguments.folder):
            writer.writerows([example.image, caption] for caption in example.captions)


if __name__ == "__main__":
    main()
