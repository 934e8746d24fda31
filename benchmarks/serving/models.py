"""Artifacts to measure: real encoders and decoders with random weights, through the project's own export.

    python -m benchmarks.serving.models [SHAPE …]

makes them anew below build/serving/SHAPE: `model/` is what `serve` loads, `weights/` are the same weights for torch.

The speed of a model does not depend on its weights, but the length of its lines does. Each token of the vocabulary is a
character of its own, so a request with `min_length` and `max_length` n gets lines of exactly n tokens from any model.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece.sentencepiece_model_pb2 as sentencepiece_model
import torch

from benchmarks.serving.shapes import FOLDER, MAX_TOKENS, SHAPES, Shape, build_decoder
from ogiri.captioning.model.conditioning import ConditionLimits, encode_conditions
from ogiri.captioning.model.controls import ControlEdges
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.tokenizer import BOS, EOS, UNKNOWN, Tokenizer
from ogiri.captioning.serving.engine import graph_bytes
from ogiri.captioning.training.publish import (
    Described,
    GateLines,
    publish_graphs,
    publish_manifest,
    save_weights,
)

GATE_LINES = 8
GATE_TOKENS = 6
SEED = 0
_CHARACTERS = (*range(0x4E00, 0x9FFD), *range(0xAC00, 0xD7A4))  # kanji and hangul: each is printable and no space


def main() -> None:
    """Make the artifacts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)}; by default all")
    for name in parser.parse_args().shapes or SHAPES:
        base = FOLDER / name
        make(SHAPES[name], base)
        print(f"{base}: decoder of {graph_bytes(base / 'model/decoder.onnx') / 1e6:.1f} MB")


def ready(name: str) -> Path:
    """The folder of a shape's artifact, which is made where it is not there."""
    base = FOLDER / name
    if not (base / "model/manifest.json").is_file():
        make(SHAPES[name], base)
    return base


def make(shape: Shape, base: Path) -> None:
    """Write `model/` and `weights/` below `base`.

    Raises:
        RuntimeError: the gate of the export refused 8-bit weights: what would be measured is not what is shipped.
    """
    shutil.rmtree(base, ignore_errors=True)
    (base / "model").mkdir(parents=True)
    torch.manual_seed(SEED)
    tokenizer, limits = Tokenizer(tokenizer_model(shape.vocabulary)), ConditionLimits()
    encoder = Encoder(shape.encoder, shape.size)
    pictures = _pictures(shape.size)
    encoder.settle([torch.from_numpy(pictures)])
    decoder = build_decoder(shape, encoder.channels, limits)
    save_weights(base / "weights", {"encoder": encoder, "decoder": decoder})
    quantization = publish_graphs(
        base / "model", encoder, decoder, tokenizer, _gate(encoder, tokenizer, limits, pictures), quantize=True
    )
    if quantization["decoder"] == "none":
        raise RuntimeError(f"{base}: 8-bit weights did not pass the gate: {quantization['nats_per_token']}")
    publish_manifest(
        base / "model",
        Described(
            base.name,
            shape.size,
            limits,
            ControlEdges(),
            tokenizer,
            decoder,
            shape.decoder,
            MAX_TOKENS,
            quantization,
            shape.encoder,
        ),
        {},
    )


def tokenizer_model(vocabulary: int) -> bytes:
    """A SentencePiece model whose tokens are single characters.

    Raises:
        ValueError: there are not so many characters.
    """
    special = {UNKNOWN: "<unk>", BOS: "<s>", EOS: "</s>"}
    if not len(special) < vocabulary <= len(special) + len(_CHARACTERS):
        raise ValueError(f"vocabulary is {vocabulary}: it must be {len(special) + 1} to {3 + len(_CHARACTERS)}")
    schema: Any = sentencepiece_model
    proto = schema.ModelProto()
    kinds = schema.ModelProto.SentencePiece
    for token, name in sorted(special.items()):
        proto.pieces.add(piece=name, score=0.0, type=kinds.UNKNOWN if token == UNKNOWN else kinds.CONTROL)
    for code in _CHARACTERS[: vocabulary - len(special)]:
        proto.pieces.add(piece=chr(code), score=-10.0, type=kinds.NORMAL)
    proto.trainer_spec.model_type = schema.TrainerSpec.UNIGRAM
    proto.trainer_spec.vocab_size = vocabulary
    proto.trainer_spec.unk_id, proto.trainer_spec.bos_id, proto.trainer_spec.eos_id = UNKNOWN, BOS, EOS
    proto.trainer_spec.pad_id = -1
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    model: bytes = proto.SerializeToString()
    return model


def _pictures(size: int) -> Any:
    return np.random.default_rng(SEED).integers(0, 256, (GATE_LINES, size, size, 3), np.uint8)


def _gate(encoder: Encoder, tokenizer: Tokenizer, limits: ConditionLimits, pictures: Any) -> GateLines:
    with torch.no_grad():
        maps = encoder.eval()(torch.from_numpy(pictures)).numpy()
    return GateLines(
        pictures[:2],
        maps,
        np.arange(GATE_LINES),
        [encode_conditions((), "", tokenizer, limits)] * GATE_LINES,
        _lines(tokenizer.vocabulary),
    )


def _lines(vocabulary: int) -> Sequence[Sequence[int]]:
    drawn = np.random.default_rng(SEED).integers(EOS + 1, vocabulary, (GATE_LINES, GATE_TOKENS))
    return [[int(token) for token in line] for line in drawn]


if __name__ == "__main__":
    main()
