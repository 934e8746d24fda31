"""A job in small: a few dozen lines, maps or pixels at random, a decoder that trains in a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ogiri.captioning.data.features import Broken, PictureArrays
from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.training.dataset import Dataset, build_dataset
from ogiri.captioning.training.export import export_decoder, quantize_decoder
from ogiri.captioning.training.fit import fit
from ogiri.captioning.training.fitting import Fitting, Progress
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.publish import GateLines, state_entries
from ogiri.record import Label, Record

PICTURES, CELLS, CHANNELS, SIZE = 24, 3, 8, 64
SUBJECTS = ["犬", "猫", "社長", "部長", "電車", "寿司"]
ENDS = ["が逃げた！", "を忘れた？", "と踊る", "は高い", "も笑う🍣"]


def hyperparameters(**values: Any) -> CaptionHyperparameters:
    small: dict[str, Any] = {
        "decoder_width": 32,
        "vocabulary": 300,
        "batch_size": 8,
        "epochs": 4,
        "learning_rate": 0.01,
        "validation_fraction": 0.3,
        "precision": "fp32",
        "patience": 0,
    }
    return CaptionHyperparameters(**{**small, **values})


def records() -> Records:
    """Two lines a picture; every second picture has a label, every third one text."""
    builder = RecordsBuilder()
    for n in range(PICTURES):
        labels = (Label(SUBJECTS[n % 6], 90.0), Label("Object")) if n % 2 else ()
        for end in (ENDS[n % 5], ENDS[(n + 2) % 5]):
            text = "止まれ" if n % 3 == 0 else ""
            builder.add(Record(f"{n:02}.png", SUBJECTS[n % 6] + end, labels, text))
    return builder.build()


def maps(broken: tuple[int, ...] = ()) -> PictureArrays:
    arrays = np.random.default_rng(0).standard_normal((PICTURES, CELLS, CHANNELS)).astype(np.float16)
    return PictureArrays(
        arrays,
        [n for n in range(PICTURES) if n not in broken],
        [Broken(f"{n:02}.png", "no such file") for n in broken],
    )


def pixels() -> PictureArrays:
    arrays = np.random.default_rng(0).integers(0, 256, (PICTURES, SIZE, SIZE, 3), np.uint8)
    return PictureArrays(arrays, list(range(PICTURES)), [])


def new_model(hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder | None = None, layers: int = 1) -> Model:
    torch.manual_seed(hp.seed)
    channels = CHANNELS if encoder is None else encoder.channels
    dims = LSTMDimensions(
        dataset.tokenizer.vocabulary,
        channels,
        dataset.limits.buckets,
        width=hp.decoder_width,
        layers=layers,
        embedding_dropout=0.6 * hp.dropout,
        output_dropout=hp.dropout,
    )
    return Model(LSTMDecoder(dims), encoder)


@dataclass
class Job:
    """A training job that leaves its checkpoint in `folder`; run again, it goes on from there."""

    folder: Path
    hp: CaptionHyperparameters
    arrays: PictureArrays = field(default_factory=maps)
    encoder_name: str = ""
    fingerprint: str = "small"
    reported: list[Mapping[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dataset = build_dataset(records(), self.arrays, self.hp)

    def fitting(self, stopping: Callable[[], bool] = lambda: False) -> Fitting:
        return Fitting(
            train=self.dataset.train.examples,
            validation=self.dataset.validation.examples,
            references=self.dataset.validation.references,
            train_references=self.dataset.train.references,
            tokenizer=self.dataset.tokenizer,
            hyperparameters=self.hp,
            device=torch.device("cpu"),
            checkpoint=self.folder / "training.pt",
            fingerprint=self.fingerprint,
            stopping=stopping,
            report_metrics=self.reported.append,
        )

    def model(self) -> Model:
        torch.manual_seed(self.hp.seed)
        encoder = Encoder(self.encoder_name, SIZE) if self.encoder_name else None
        return new_model(self.hp, self.dataset, encoder)

    def run(self, stopping: Callable[[], bool] = lambda: False) -> tuple[Model, Progress]:
        model = self.model()
        return model, fit(model, self.fitting(stopping))


def stop_after(times: int) -> Callable[[], bool]:
    """Becomes true once it was asked as often."""
    left = iter(range(times))
    return lambda: next(left, None) is None


def small_encoder() -> Encoder:
    """One convolution: `CHANNELS` wide, 4 × 4 cells at 32 × 32 pixels."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 2))
    return Encoder("resnet18", 32, network, pretrained=True)


def engine(decoder: Decoder, folder: Path, quantized: bool = False) -> Engine:
    """The decoder's graph, loaded."""
    export_decoder(decoder, CHANNELS, folder / "float32.onnx")
    if quantized:
        quantize_decoder(folder / "float32.onnx", folder / "int8.onnx")
    return Engine(folder / ("int8.onnx" if quantized else "float32.onnx"), state_entries(decoder), threads=1)


def every_node(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes of a graph and of the branches in it."""
    branches = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.node, *(node for branch in branches for node in every_node(branch))]


def gate_lines(dataset: Dataset) -> GateLines:
    """All lines of the training side."""
    examples = dataset.train.examples
    return GateLines(
        pictures=np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8),
        maps=examples.pictures[examples.rows],
        rows=examples.picture_of,
        conditions=[examples.conditions[picture] for picture in examples.picture_of],
        lines=examples.lines,
    )
