"""The loop that people write, on the folders of a job: every picture is opened, resized and encoded anew in each epoch.

    SAGEMAKER_BASE_DIR=/tmp/ml python -m benchmarks.training.naive

Only the loop is naive: a `Dataset` that opens one picture with Pillow, torchvision's transforms, a `DataLoader` with
two workers that shuffles, the frozen encoder under `no_grad`, all in float32, batches as long as their longest line.
Split, tokenizer, decoder, loss, optimizer, schedule and average of the weights are those of the project, so that both
validation losses mean the same. After each epoch only the loss is validated; nothing is exported or evaluated.

`hashes.json` in the base folder holds the perceptual hash of each picture, by which pictures that look alike are kept
on one side of the split: a naive loop would have its split in a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils import data
from torchvision import transforms

from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.lines import drop_unfit
from ogiri.captioning.data.scan import read_channel
from ogiri.captioning.model.decoder import at_places
from ogiri.captioning.model.encoder import IMAGENET_MEAN, IMAGENET_STD, load_encoder
from ogiri.captioning.training.build import build_model
from ogiri.captioning.training.dataset import Dataset, Part, build_dataset
from ogiri.captioning.training.epoch import smoothed_loss
from ogiri.captioning.training.examples import IGNORED, Batch, collate, token_frequencies
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.optimizer import build_optimizer, build_schedule
from ogiri.captioning.training.stage import Stage
from ogiri.sagemaker.training import environment, hyperparameters, log, metrics

WORKERS = 2
HASHES = "hashes.json"
CPU = torch.device("cpu")


class OpenedPictures(data.Dataset[tuple[int, Tensor]]):
    """A line's number and its picture, opened when it is asked for."""

    def __init__(self, folder: Path, part: Part, size: int) -> None:
        self._paths = [folder / part.pictures.key(picture) for picture in part.examples.picture_of.tolist()]
        self._transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, line: int) -> tuple[int, Tensor]:
        with Image.open(self._paths[line]) as picture:
            return line, self._transform(picture.convert("RGB"))


class Naive:
    """The loop, with what it is given."""

    def __init__(self, job: environment.Environment, hp: CaptionHyperparameters) -> None:
        self.hp, self.dataset = hp, read_dataset(job, hp)
        encoder = load_encoder(hp.encoder, hp.image_size, [job.channels["pretrained"]], allow_download=False)
        self.trunk = encoder.trunk.eval().requires_grad_(False)
        self.model = build_model(hp, self.dataset, encoder)
        optimizer = build_optimizer(self.model, hp, CPU, hp.learning_rate)
        steps = math.ceil(len(self.dataset.train.examples) / hp.batch_size) * hp.epochs
        schedule = build_schedule(optimizer, steps, hp.warmup_ratio)
        self.stage = Stage(self.model, optimizer, schedule, hp.average_decay, hp.clip_norm)
        self._folder = job.channels["training"]
        tokenizer, examples = self.dataset.tokenizer, self.dataset.train.examples
        self._frequencies = torch.from_numpy(token_frequencies(examples, tokenizer.vocabulary, tokenizer.eos))
        self._rng = np.random.default_rng(hp.seed)

    def train(self) -> None:
        """Every line once."""
        self.model.train(True)
        for batch in self._batches(self.dataset.train, training=True):
            logits = self.model.decoder(batch.prefix, batch.tokens)
            places, targets, weights = batch.to_learn()
            loss = smoothed_loss(
                at_places(logits, places), targets, weights, self.hp.label_smoothing, self._frequencies
            )
            self.stage.step(loss)

    @torch.no_grad()
    def validate(self) -> float:
        """The loss over the lines held out, in nats a token."""
        self.model.train(False)
        nats, tokens = 0.0, 0
        for batch in self._batches(self.dataset.validation, training=False):
            logits = self.model.decoder(batch.prefix, batch.tokens)
            nats += functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum").item()
            tokens += int((batch.targets != IGNORED).sum())
        return nats / tokens

    def _batches(self, part: Part, training: bool) -> Iterator[Batch]:
        tokenizer, hp = self.dataset.tokenizer, self.hp
        pictures = OpenedPictures(self._folder, part, hp.image_size)
        rng = self._rng if training else None
        for lines, opened in data.DataLoader(pictures, hp.batch_size, shuffle=training, num_workers=WORKERS):
            with torch.no_grad():
                maps = self.trunk(opened)["map"].flatten(2).transpose(1, 2)
            batch = collate(part.examples, lines.numpy(), tokenizer.bos, tokenizer.eos, rng, hp.condition_dropout)
            yield replace(batch, prefix=replace(batch.prefix, map=maps))


def read_dataset(job: environment.Environment, hp: CaptionHyperparameters) -> Dataset:
    """The same split and the same tokens as `train` has; of the pictures, only the hashes."""
    records, _ = drop_unfit(read_channel(job.channels["records"], hp.min_records), hp.max_characters, lambda _: False)
    known = json.loads((job.base / HASHES).read_text())
    hashes = np.array([list(bytes.fromhex(known[key])) for key in records.pictures.keys], np.uint8)
    count = len(records.pictures)
    nothing = np.zeros((count, 1, 1), np.float16)
    return build_dataset(records, PictureArrays(nothing, np.arange(count), [], hashes), hp)


def main() -> None:
    """Train; the log has the metrics of each epoch as `train` writes them."""
    log.configure()
    job = environment.read()
    hp = hyperparameters.check(CaptionHyperparameters, hyperparameters.read(job.hyperparameters))
    naive = Naive(job, hp)
    for epoch in range(1, hp.epochs + 1):
        naive.train()
        with naive.stage.average.applied():
            metrics.report({"epoch": epoch, "validation_loss": naive.validate()})
    torch.save(naive.model.decoder.state_dict(), job.model / "decoder.pt")


if __name__ == "__main__":
    main()
