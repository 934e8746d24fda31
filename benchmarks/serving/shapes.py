"""The models that are measured: their sizes, and their decoders with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.machine import ROOT

if TYPE_CHECKING:  # torch takes seconds to import, and only who builds a decoder needs it
    from ogiri.captioning.model.conditioning import ConditionLimits
    from ogiri.captioning.model.decoder import Decoder

FOLDER = ROOT / "build" / "serving"
MAX_TOKENS = 64
HEAD_WIDTH = 64


@dataclass(frozen=True)
class Shape:
    """The sizes of a model.

    Attributes:
        decoder: `lstm` or `gpt2`.
        encoder: torchvision's name.
        vocabulary: tokens.
        width: of the decoder.
        layers: of the decoder.
        size: pixels of a picture's side.
    """

    decoder: str
    encoder: str
    vocabulary: int
    width: int
    layers: int
    size: int = 224


SHAPES = {
    "lstm": Shape("lstm", "mobilenet_v2", 8000, 512, 1),
    "small": Shape("gpt2", "resnet50", 32000, 768, 12),
    "medium": Shape("gpt2", "resnet50", 32000, 1024, 24),
}
"""The demo's kind of model at full size, and GPT-2 in the sizes of the published Japanese ones."""


def build_decoder(shape: Shape, channels: int, limits: ConditionLimits) -> Decoder:
    """A new decoder with random weights."""
    if shape.decoder == "lstm":
        from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions

        return LSTMDecoder(
            LSTMDimensions(shape.vocabulary, channels, limits.buckets, width=shape.width, layers=shape.layers)
        )
    from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions  # transformers takes seconds to import

    return GPT2Decoder(
        GPT2Dimensions(
            shape.vocabulary,
            channels,
            limits.buckets,
            positions=MAX_TOKENS + 1,
            width=shape.width,
            heads=shape.width // HEAD_WIDTH,
            layers=shape.layers,
        )
    )
