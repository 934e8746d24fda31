"""A trained model → the artifact folder: graphs, tokenizer, manifest."""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from ogiri.artifact import write_manifest
from ogiri.captioning.model.conditioning import ConditionLimits, Conditions
from ogiri.captioning.model.controls import ControlEdges
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.engine import Engine, graph_bytes
from ogiri.captioning.serving.state import StateEntry
from ogiri.captioning.training import quality
from ogiri.captioning.training.export import (
    export_decoder,
    export_encoder,
    finish_decoder,
    quantization_blocks,
    quantize_decoder,
)

ENCODER_GRAPH, DECODER_GRAPH, TOKENIZER_FILE = "encoder.onnx", "decoder.onnx", "tokenizer.model"
BANNED_FILE = "banned_words.txt"
WEIGHTS_FOLDER = "weights"  # of an artifact with `export_weights`
_UNQUANTIZED = "decoder.float32.onnx"
PARITY_LINES = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GateLines:
    """Lines that the export is checked with.

    Attributes:
        pictures: (a few, size, size, 3) pixels, for the encoder.
        maps: (pictures, cells, channels).
        rows: (lines,) the row in `maps` of each line's picture.
        conditions: of each line's picture.
        lines: tokens.
    """

    pictures: npt.NDArray[np.uint8]
    maps: npt.NDArray[np.generic]
    rows: npt.NDArray[np.int64]
    conditions: Sequence[Conditions]
    lines: Sequence[Sequence[int]]


def publish_graphs(
    folder: Path, encoder: Encoder, decoder: Decoder, tokenizer: Tokenizer, gate: GateLines, quantize: bool
) -> dict[str, Any]:
    """Write both graphs and the tokenizer.

    Returns:
        The manifest's `quantization`.

    Raises:
        RuntimeError: a float32 graph differs from torch.
    """
    encoder, decoder = encoder.float().cpu(), decoder.float().cpu()
    export_encoder(encoder, folder / ENCODER_GRAPH)
    export_decoder(decoder, encoder.channels, folder / _UNQUANTIZED)
    (folder / TOKENIZER_FILE).write_bytes(tokenizer.model)
    state = state_entries(decoder)
    exact = Engine(folder / _UNQUANTIZED, state, folder / ENCODER_GRAPH)
    parity = {
        "encoder": quality.encoder_difference(encoder, exact, gate.pictures),
        "decoder": quality.decoder_difference(
            decoder,
            exact,
            gate.maps[gate.rows[:PARITY_LINES]].astype(np.float32),
            gate.conditions[:PARITY_LINES],
            gate.lines[:PARITY_LINES],
            tokenizer.bos,
        ),
    }
    for name, difference in parity.items():
        log.info("the float32 %s graph differs from torch by %.1e", name, difference)
        if not difference <= quality.PARITY_TOLERANCE and not (
            name == "encoder" and _is_rounding(difference, encoder, gate.pictures)
        ):
            raise RuntimeError(f"the float32 {name} graph differs from torch by {difference:.1e}")
    described: dict[str, Any] = {"decoder": "none", "parity": parity, "nats_per_token": {}}
    described["bytes"] = {
        "encoder": graph_bytes(folder / ENCODER_GRAPH),
        "decoder_float32": graph_bytes(folder / _UNQUANTIZED),
    }
    if quantize and _quantization_passes(folder, exact, state, tokenizer, gate, described):
        (folder / _UNQUANTIZED).unlink()
        described["decoder"] = "int8"
    else:
        finish_decoder(folder / _UNQUANTIZED, folder / DECODER_GRAPH)
        (folder / _UNQUANTIZED).unlink()
        described["bytes"]["decoder_float32"] = graph_bytes(folder / DECODER_GRAPH)
    return described


def _is_rounding(difference: float, encoder: Encoder, pictures: npt.NDArray[np.uint8]) -> bool:
    """Whether torch's own float32 is about as far from exact as the graph is from torch."""
    rounding = quality.encoder_rounding(encoder, pictures)
    log.warning("the encoder's own rounding to float32 is %.1e: it magnifies differences of its pictures", rounding)
    return difference <= quality.MAX_ROUNDINGS * rounding


@dataclass(frozen=True)
class Described:
    """What the manifest says of a model beside its figures.

    Attributes:
        job_name: of the training job.
        size: pixels of a picture's side.
        limits: how much of labels and text goes in.
        controls: where the levels of score and length begin.
        tokenizer: of the lines.
        decoder: whose state the engine carries.
        decoder_name: `lstm` or `gpt2`.
        max_tokens: of a line, the end token not counted.
        quantization: as `publish_graphs` gave it.
        encoder_name: torchvision's.
        banned_words: what the model must never write.
    """

    job_name: str
    size: int
    limits: ConditionLimits
    controls: ControlEdges
    tokenizer: Tokenizer
    decoder: Decoder
    decoder_name: str
    max_tokens: int
    quantization: Mapping[str, Any]
    encoder_name: str
    banned_words: Sequence[str] = ()


def publish_manifest(folder: Path, described: Described, metrics: Mapping[str, Any]) -> None:
    """Write manifest.json, which closes the artifact, and the list of banned words where there is one."""
    limits, tokenizer = described.limits, described.tokenizer
    if described.banned_words:
        (folder / BANNED_FILE).write_text("".join(f"{word}\n" for word in described.banned_words), encoding="utf-8")
    write_manifest(
        folder,
        {
            "task": "caption",
            "name": described.job_name,
            "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "training_job": described.job_name,
            "preprocessing": {
                "encoder": described.encoder_name,
                "size": described.size,
                "max_labels": limits.max_labels,
                "max_label_pieces": limits.max_label_pieces,
                "max_text_pieces": limits.max_text_pieces,
                "confidence_edges": list(limits.confidence_edges),
            },
            "tokenizer": {
                "file": TOKENIZER_FILE,
                "vocabulary": tokenizer.vocabulary,
                "bos": tokenizer.bos,
                "eos": tokenizer.eos,
                "lower_case": tokenizer.lower_case,
            },
            "decoding": {
                "decoder": described.decoder_name,
                "dimensions": manifest_dimensions(described.decoder),
                "encoder_graph": ENCODER_GRAPH,
                "decoder_graph": DECODER_GRAPH,
                "state": manifest_state(described.decoder),
                "controls": dataclasses.asdict(described.controls),
                "max_tokens": described.max_tokens,
                **({"banned_words": BANNED_FILE} if described.banned_words else {}),
                "defaults": {},
            },
            "quantization": dict(described.quantization),
            "metrics": dict(metrics),
        },
    )


def manifest_state(decoder: Decoder) -> list[dict[str, Any]]:
    """The manifest's `decoding.state`."""
    return [{**dataclasses.asdict(entry), "shape": list(entry.shape)} for entry in state_entries(decoder)]


def manifest_dimensions(decoder: Decoder) -> dict[str, Any]:
    """The manifest's `decoding.dimensions`: the decoder's sizes, which are not those of dropout."""
    sizes = dataclasses.asdict(cast(Any, decoder).dims)
    return {name: size for name, size in sizes.items() if not name.endswith("dropout")}


def state_entries(decoder: Decoder) -> list[StateEntry]:
    """What the graph of a decoder carries from step to step."""
    return [
        StateEntry(spec.name, spec.shape, str(spec.dtype).removeprefix("torch."), spec.constant, spec.padding)
        for spec in decoder.state_specs
    ]


def save_weights(folder: Path, parts: Mapping[str, torch.nn.Module]) -> None:
    """Write `NAME.safetensors` for each part."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        weights = {key: value.detach().cpu().contiguous() for key, value in part.state_dict().items()}
        safetensors.torch.save_file(weights, folder / f"{name}.safetensors")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _quantization_passes(
    folder: Path,
    exact: Engine,
    state: Sequence[StateEntry],
    tokenizer: Tokenizer,
    gate: GateLines,
    described: dict[str, Any],
) -> bool:
    for block in quantization_blocks(folder / _UNQUANTIZED):
        quantize_decoder(folder / _UNQUANTIZED, folder / DECODER_GRAPH, block)
        rounded = Engine(folder / DECODER_GRAPH, state)
        found = quality.compare(
            exact, rounded, gate.maps, gate.rows, gate.conditions, gate.lines, tokenizer.bos, tokenizer.eos
        )
        lost = found.quantized - found.float32
        described["nats_per_token"] = {"float32": found.float32, "quantized": found.quantized, "lines": len(gate.lines)}
        described["top1_agreement"] = found.top1_agreement
        described["block"] = block
        described["bytes"]["decoder_quantized"] = graph_bytes(folder / DECODER_GRAPH)
        log.info(
            "8-bit weights in blocks of %d and float32 have the same favourite for %.2f %% of the tokens of %d lines",
            block,
            100 * found.top1_agreement,
            len(gate.lines),
        )
        if lost <= quality.MAX_NATS_LOST:
            log.info("8-bit weights cost %.4f nats a token over %d lines: shipped", lost, len(gate.lines))
            return True
        log.warning(
            "8-bit weights in blocks of %d cost %.4f nats a token, more than %.2f", block, lost, quality.MAX_NATS_LOST
        )
    log.warning("float32 is shipped, which is slower and four times as large")
    return False
