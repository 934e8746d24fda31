"""What the manifest of an artifact says about captioning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ogiri.captioning.model.conditioning import ConditionLimits
from ogiri.captioning.model.controls import ControlEdges
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.state import StateEntry
from ogiri.parameter import ParameterError, from_json

ENCODER_WEIGHTS, DECODER_WEIGHTS = "weights/encoder.safetensors", "weights/decoder.safetensors"
"""Files of an artifact that was trained with `export_weights`."""

DECODERS = ("lstm", "gpt2")

_KINDS: Mapping[type, str] = {int: "a whole number", str: "a string", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Settings:
    """Sections `preprocessing`, `tokenizer` and `decoding`; see docs/architecture.md.

    Attributes:
        size: pixels of a picture's side.
        limits: how much of labels and text goes in.
        tokenizer_file, encoder_graph, decoder_graph: names of files beside the manifest.
        lower_case: the tokenizer takes lower-cased text.
        state: what the decoder carries from step to step.
        max_tokens: of a line, the end token not counted.
        controls: which the model has learned.
        banned_file: name of a list beside the manifest, see `banned.read_words`: words that the model never writes,
            whatever a request says; None where there is none.
        defaults: what a request does not set.
    """

    size: int
    limits: ConditionLimits
    tokenizer_file: str
    lower_case: bool
    encoder_graph: str
    decoder_graph: str
    state: tuple[StateEntry, ...]
    max_tokens: int
    controls: ControlEdges
    banned_file: str | None
    defaults: Parameters

    @property
    def files(self) -> list[str]:
        """The files that are needed beside the manifest."""
        files = [self.encoder_graph, self.decoder_graph, self.tokenizer_file]
        return files if self.banned_file is None else [*files, self.banned_file]


@dataclass(frozen=True)
class Network:
    """What it takes to make encoder and decoder again, for weights in files.

    Attributes:
        encoder: torchvision's name.
        decoder: one of `DECODERS`.
        dimensions: the fields of its dataclass of sizes.
    """

    encoder: str
    decoder: str
    dimensions: Mapping[str, Any]


def read_network(manifest: Mapping[str, Any]) -> Network:
    """Read what the manifest says of encoder and decoder beside their graphs.

    Raises:
        ValueError: a key is missing or its value does not fit; the message names it.
    """
    decoder = _value(manifest, str, "decoding", "decoder")
    if decoder not in DECODERS:
        raise ValueError(f"manifest.json has decoding.decoder {decoder!r}: it must be {' or '.join(DECODERS)}")
    dimensions = _value(manifest, dict, "decoding", "dimensions")
    for name, number in dimensions.items():
        if isinstance(number, bool) or not isinstance(number, int | float | None):
            raise ValueError(f"manifest.json has decoding.dimensions.{name} {number!r}: it must be a number")
    return Network(_value(manifest, str, "preprocessing", "encoder"), decoder, dimensions)


def read_settings(manifest: Mapping[str, Any]) -> Settings:
    """Read the manifest.

    Raises:
        ValueError: a key is missing or its value does not fit; the message names it.
    """
    return Settings(
        size=_positive(manifest, "preprocessing", "size"),
        limits=ConditionLimits(
            max_labels=_value(manifest, int, "preprocessing", "max_labels"),
            max_label_pieces=_value(manifest, int, "preprocessing", "max_label_pieces"),
            max_text_pieces=_value(manifest, int, "preprocessing", "max_text_pieces"),
            confidence_edges=tuple(map(float, _value(manifest, list, "preprocessing", "confidence_edges"))),
        ),
        tokenizer_file=_value(manifest, str, "tokenizer", "file"),
        lower_case=_lower_case(manifest),
        encoder_graph=_value(manifest, str, "decoding", "encoder_graph"),
        decoder_graph=_value(manifest, str, "decoding", "decoder_graph"),
        state=tuple(_state_entry(entry) for entry in _value(manifest, list, "decoding", "state")),
        max_tokens=_positive(manifest, "decoding", "max_tokens"),
        controls=_controls(manifest),
        banned_file=_banned_file(manifest),
        defaults=_defaults(manifest),
    )


def _value(manifest: Mapping[str, Any], kind: type, section: str, name: str) -> Any:
    values = manifest.get(section)
    if not isinstance(values, Mapping):
        raise ValueError(f"manifest.json has {section} {values!r}: it must be an object")
    value = values.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"manifest.json has {section}.{name} {value!r}: it must be {_KINDS[kind]}")
    return value


def _lower_case(manifest: Mapping[str, Any]) -> bool:
    value = manifest["tokenizer"].get("lower_case", False)
    if not isinstance(value, bool):
        raise ValueError(f"manifest.json has tokenizer.lower_case {value!r}: it must be true or false")
    return value


def _banned_file(manifest: Mapping[str, Any]) -> str | None:
    if "banned_words" not in manifest["decoding"]:
        return None
    return str(_value(manifest, str, "decoding", "banned_words"))


def _positive(manifest: Mapping[str, Any], section: str, name: str) -> int:
    number = int(_value(manifest, int, section, name))
    if number < 1:
        raise ValueError(f"manifest.json has {section}.{name} {number}: it must be at least 1")
    return number


def _state_entry(entry: Any) -> StateEntry:
    try:
        shape = tuple(int(size) for size in entry["shape"])
        dtype = np.dtype(entry.get("dtype", "float32")).name
        padding = float(entry.get("padding", 0.0))
        return StateEntry(str(entry["name"]), shape, dtype, bool(entry.get("constant", False)), padding)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"manifest.json has {entry!r} in decoding.state: it needs name, shape and dtype") from error


def _controls(manifest: Mapping[str, Any]) -> ControlEdges:
    edges = _value(manifest, dict, "decoding", "controls")
    try:
        return ControlEdges.from_json(edges)
    except ValueError as error:
        raise ValueError(f"manifest.json has wrong decoding.controls: {error}") from error


def _defaults(manifest: Mapping[str, Any]) -> Parameters:
    defaults = manifest.get("decoding", {}).get("defaults") or {}
    try:
        return from_json(Parameters, defaults)
    except (TypeError, ParameterError) as error:
        raise ValueError(f"manifest.json has wrong decoding.defaults: {error}") from error
