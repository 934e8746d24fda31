"""By what a restarted job knows its own checkpoint and feature maps."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.training.dataset import Dataset
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters


def weights_fingerprint(encoder: Encoder) -> str:
    """Of an encoder's name, picture size and weights: feature maps of another one are not used."""
    digest = hashlib.sha256(f"{encoder.name} {encoder.size}".encode())
    for name, value in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def job_fingerprint(hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder) -> str:
    """Of all that decides what training does: a checkpoint of another job is not used."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(hp), sort_keys=True).encode())
    digest.update(weights_fingerprint(encoder).encode())
    digest.update(dataset.tokenizer.model)
    for part in (dataset.train, dataset.validation):
        for one, lines in zip(part.pictures, part.references, strict=True):
            digest.update(json.dumps([dataclasses.asdict(one), lines]).encode())
    return digest.hexdigest()
