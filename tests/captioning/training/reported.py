"""A report in plain values, and what stands in the page that is made of it."""

from __future__ import annotations

import dataclasses
import io
import random
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

from PIL import Image

from ogiri.captioning.data.features import Broken
from ogiri.captioning.data.summary import (
    Bin,
    DataSummary,
    Distribution,
    DroppedLines,
    LineOf,
    NearDuplicates,
    Side,
)
from ogiri.captioning.training.report_page.data import Glance, Look, ReportData, Shown, Thumbnail
from tests.captioning.training.small import hyperparameters

VOID = {"meta", "img"}
HOSTILE = "<script>alert('1')</script>\"&\u202e\x00\ud800"

LENGTHS = Distribution(11.5, 4, 11, 19, 22, (Bin(4, 8, 3), Bin(8, 12, 40), Bin(12, 16, 7)))
SUMMARY = DataSummary(
    records_read=130,
    pictures_read=70,
    dropped_lines=(DroppedLines("longer than 20 characters", 3, (LineOf("a.png", "長い行"),)),),
    dropped_pictures=2,
    broken_pictures=(Broken("bad.png", "cut off"),),
    near_duplicates=NearDuplicates(1, 3, 3, (("a.png", "b.png", "c.png"),)),
    train=Side(60, 110, 58),
    validation=Side(7, 12, 7),
    line_characters=LENGTHS,
    labels_per_picture=Distribution(2.5, 0, 2, 4, 5, (Bin(0, 6, 67),)),
    pictures_with_text=0.25,
    lines_with_score=0.0,
    shared_lines=1,
    shared_examples=("同じ行",),
    cut_lines=0,
)
HISTORY = [
    {
        "epoch": n,
        "train_loss": 5.0 - n,
        "validation_loss": loss,
        "validation_nats_per_character": loss / 2,
        "validation_bleu": 3.0 * n,
        "validation_cider": 0.1 * n,
        "validation_chrf": 7.0 + n,
        "epoch_seconds": 2.5,
    }
    for n, loss in ((1, 4.0), (2, 3.25), (3, 3.26))
]
SCORES = {"bleu_1": 40.0, "bleu_2": 30.0, "bleu_3": 20.0, "bleu_4": 9.87, "cider": 0.4321, "chrf": 23.45}
FREE_RUNNING: dict[str, Any] = {
    "split": "validation",
    "pictures": 7,
    "tokens": "character",
    "beams": 3,
    **SCORES,
    "bleu_ja_mecab": 8.76,
    "shuffled": {name: {**SCORES, "chrf": 11.0, "cider": 0.1} for name in ("picture", "labels_and_text", "everything")},
    "nats_per_token": {
        "right": 3.21,
        "shuffled_picture": 3.87,
        "shuffled_labels_and_text": 3.5,
        "shuffled_everything": 4.56,
    },
    "picture_shuffle_gap": {"chrf": 12.45, "cider": 0.3321, "nats_per_token": 0.66},
    "variety": {
        kind: {"distinct_1": 0.5, "distinct_2": 0.8, "self_bleu": 10.0, "unique": 0.857, "copied": 0.125}
        for kind in ("beam", "sampled")
    },
}
QUANTIZATION: dict[str, Any] = {
    "decoder": "int8",
    "parity": {"encoder": 1.5e-5, "decoder": 2.5e-6},
    "nats_per_token": {"float32": 3.2101, "quantized": 3.2104, "lines": 500},
    "top1_agreement": 0.9876,
    "bytes": {"encoder": 8_900_000, "decoder_float32": 18_300_000, "decoder_quantized": 5_200_000},
}


def figures(**changes: Any) -> dict[str, Any]:
    """What metrics.json of a job may hold."""
    return {
        "job": "job-7",
        "created": "2026-01-02 03:04 UTC",
        "hyperparameters": dataclasses.asdict(hyperparameters(epochs=3)),
        "records": 130,
        "pictures": 70,
        "broken_pictures": 1,
        "train_pictures": 60,
        "train_lines": 110,
        "validation_pictures": 7,
        "validation_lines": 12,
        "cut_lines": 0,
        "vocabulary": 300,
        "encoder": "resnet50",
        "decoder": "lstm",
        "decoder_weights": "int8",
        "epochs": 3,
        "best_epoch": 2,
        **{name: value for name, value in HISTORY[1].items() if name.startswith(("train_", "validation_"))},
        "seconds": {"records": 1.5, "training": 60.25},
        "free_running": FREE_RUNNING,
        "quantization": QUANTIZATION,
        "data": SUMMARY.as_dict(),
        "pictures_on_both_sides": 0,
        "machine": {"processor": "2 × a processor", "threads": "1", "GPU": "none"},
        "versions": {"Python": "3.11.9", "torch": "2.0"},
        "reproduce": {
            "command": "docker run IMAGE train",
            "channels": ["records", "training"],
            "data_fingerprint": "ab" * 32,
            "image": "",
            "commit": "",
        },
        "history": HISTORY,
        "warnings": ["broken pictures: 1 of 70 could not be read"],
        **changes,
    }


def stopped(**changes: Any) -> dict[str, Any]:
    """The same of a job that was asked to end before its first epoch did."""
    told = {
        name: value for name, value in figures().items() if not name.startswith(("validation_n", "validation_loss"))
    }
    del told["train_loss"]
    ended = {"free_running": None, "history": [], "best_epoch": 0, "epochs": 0}
    return {**told, **ended, "warnings": ["not evaluated: the job was asked to end early"], **changes}


def sample(**changes: Any) -> dict[str, Any]:
    """A line of samples.jsonl."""
    return {
        "image_key": "a.png",
        "split": "validation",
        "labels": [{"Name": "Cat", "Confidence": 98.2}, {"Name": "Sofa", "Confidence": None}],
        "detected_text": "本日休業",
        "references": ["会議、まだ続く？", "休みの日"],
        "generated": "猫の会議",
        "chrf": 34.56,
        "candidates": [{"text": "猫が寝る", "score": -1.2345}, {"text": "また猫か", "score": -2.5}],
        **changes,
    }


def thumbnail(width: int = 40, height: int = 30) -> Thumbnail:
    out = io.BytesIO()
    image = Image.frombytes("RGB", (width, height), random.Random(0).randbytes(3 * width * height))
    image.save(out, "WEBP")
    return Thumbnail(out.getvalue(), width, height)


def glances() -> list[Glance]:
    grid = [[0.05, 0.1], [0.4, 0.05]]
    return [
        Glance("猫", grid, 0.6, 0.25, 0.0, 0.0, 0.15, "Cat"),
        Glance("\n", grid, 0.6, 0.1, 0.2, 0.0, 0.1, "Sofa"),
        Glance("", [], 0.1, 0.1, 0.0, 0.0, 0.8),
    ]


def report(told: dict[str, Any] | None = None, **changes: Any) -> ReportData:
    """All of a report; `changes` are made to every sample."""
    shown = [Shown(group, sample(**changes), thumbnail()) for group in ("best", "middle", "worst")]
    return ReportData(figures() if told is None else told, shown, [Look(shown[0], glances())])


class Structure(HTMLParser):
    """What stands in a page, and that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)

    def values(self, *names: str) -> list[str]:
        return [value for name, value in self.attributes if name in names]

    @property
    def words(self) -> str:
        """The text with single blanks."""
        return re.sub(r"\s+", " ", " ".join(self.text))


def structure(html: str) -> Structure:
    found = Structure()
    found.feed(html)
    found.close()
    assert found.open == []
    return found
