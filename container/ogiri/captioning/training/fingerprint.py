"""By what a restarted job knows its own checkpoint and feature maps."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
from typing import Any

from ogiri.captioning.data.pictures import Picture
from ogiri.captioning.model.encoder import Encoder, EncoderHead
from ogiri.captioning.training.dataset import Dataset
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters

LATER = ("scst_epochs", "scst_learning_rate")
"""What changes nothing before self-critical training begins: a job that ended without it can go on to it."""

ELSEWHERE = ("processes_per_host",)
"""What decides where a job computes and not what: it can be restarted with another."""


def weights_fingerprint(encoder: Encoder | EncoderHead) -> str:
    """Of an encoder's name, picture size and weights: feature maps of another one are not used."""
    digest = hashlib.sha256(f"{encoder.name} {encoder.size}".encode())
    for name, value in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def data_fingerprint(dataset: Dataset) -> str:
    """Of the names of all pictures, their labels, text and lines, on whichever side of the split they are."""
    parts = (dataset.train, dataset.validation)  # each sorted by key
    pictures = heapq.merge(
        *(zip(part.pictures, part.references, strict=True) for part in parts), key=lambda pair: pair[0].key
    )
    digest = hashlib.sha256()
    for one, lines in pictures:
        digest.update(json.dumps([_described(one), sorted(lines)]).encode())
    return digest.hexdigest()


def job_fingerprint(hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder, started_from: str = "") -> str:
    """Of all that decides what training does: a checkpoint of another job is not used.

    Args:
        hp: of the job.
        dataset: both sides.
        encoder: as training begins.
        started_from: the fingerprints of a language model's weights and an earlier artifact's, where there are such.
    """
    decisive = {name: value for name, value in dataclasses.asdict(hp).items() if name not in (*LATER, *ELSEWHERE)}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    digest.update(weights_fingerprint(encoder).encode())
    digest.update(started_from.encode())
    digest.update(dataset.tokenizer.model)
    for part in (dataset.train, dataset.validation):
        for one, lines in zip(part.pictures, part.references, strict=True):
            digest.update(json.dumps([_described(one), lines]).encode())
    return digest.hexdigest()


def _described(picture: Picture) -> dict[str, Any]:
    """As `dataclasses.asdict`, ten times as fast: a job may have a million pictures with ten labels each."""
    labels = [{"name": label.name, "confidence": label.confidence} for label in picture.labels]
    return {"key": picture.key, "labels": labels, "detected_text": picture.detected_text}
