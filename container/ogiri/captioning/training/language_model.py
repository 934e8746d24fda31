"""A published GPT-2 of the Japanese kind: a folder with config.json, model.safetensors and a SentencePiece model.

Made for rinna/japanese-gpt2-xsmall, -small and -medium. Their tokenizer is SentencePiece's, on lower-cased text; it
puts a space before a text, which is left out here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import sentencepiece
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from sentencepiece import sentencepiece_model_pb2
from torch import Tensor
from transformers import GPT2Config

from ogiri.captioning.model.gpt2 import GPT2Dimensions, weight_shapes
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.task import UserError

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "spiece.model"
HEAD = "lm_head.weight"
MAX_BYTES = 1_900_000_000  # of float32 weights: one ONNX file holds 2 GB
MAX_UPPER_CASE = 0.01  # pieces with capitals for each with small letters, at most, where a model knows no capitals

_COMPUTED = {  # what `model.gpt2` computes
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
_BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks in older files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LanguageModel:
    """What lies in the folder, checked; its weights are read when they are asked for.

    Attributes:
        file: of the weights.
        tokenizer: without the space that it would put before a text.
        config: its sizes; there may be more rows in its embedding than tokens.
    """

    file: Path
    tokenizer: Tokenizer
    config: GPT2Config

    def dimensions(self, dims: GPT2Dimensions) -> GPT2Dimensions:
        """`dims` with the sizes of this model."""
        config = self.config
        return replace(
            dims,
            width=config.n_embd,
            heads=config.n_head,
            layers=config.n_layer,
            inner=config.n_inner,
            epsilon=config.layer_norm_epsilon,
        )

    def weights(self, positions: int) -> dict[str, Tensor]:
        """In float32, named as in `transformers.GPT2Model`, for so many positions and for the tokens that there are.

        Raises:
            UserError: the output embedding is not the input embedding.
        """
        stored = load_file(self.file)
        weights = {_own_name(name): value.float() for name, value in stored.items() if not _is_extra(name)}
        if HEAD in stored and not stored[HEAD].float().equal(weights["wte.weight"]):
            raise UserError(f"{self.file} has an output embedding of its own: only a tied one can be trained here")
        weights["wte.weight"] = weights["wte.weight"][: self.tokenizer.vocabulary]
        weights["wpe.weight"] = weights["wpe.weight"][:positions]
        return weights

    def fingerprint(self) -> str:
        """Of the weights: a checkpoint that began with others is not used."""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def open_language_model(hp: CaptionHyperparameters, pretrained: Path | None) -> LanguageModel:
    """The language model that the hyperparameters name.

    Args:
        hp: its `language_model`.
        pretrained: the channel.

    Raises:
        UserError: it is not there, or of a kind that is not known here; the message says what does not fit.
    """
    folder = _folder(hp.language_model, pretrained, hp.allow_download)
    config, tokenizer = _read_config(folder), _read_tokenizer(folder)
    if config.vocab_size < tokenizer.vocabulary:
        raise UserError(
            f"{folder} has embeddings of {config.vocab_size} tokens and a tokenizer of {tokenizer.vocabulary}: "
            "they are not of one training"
        )
    if config.n_positions <= hp.max_length:
        raise UserError(
            f"max_length is {hp.max_length}: the language model in {folder} has {config.n_positions} positions, of "
            f"which the begin token takes one; set max_length to {config.n_positions - 1} or less"
        )
    model = LanguageModel(_weights_file(folder), tokenizer, config)
    _check_shapes(model)
    case = "in lower case" if tokenizer.lower_case else "with capitals"
    log.info("language model from %s: %d tokens, text %s", folder, tokenizer.vocabulary, case)
    return model


def without_leading_space(model: bytes) -> bytes:
    """The bytes of a SentencePiece model that puts no space before a text."""
    schema: Any = sentencepiece_model_pb2
    proto = schema.ModelProto()
    proto.ParseFromString(model)
    proto.normalizer_spec.add_dummy_prefix = False
    changed: bytes = proto.SerializeToString()
    return changed


def knows_no_capitals(model: bytes) -> bool:
    """Whether a SentencePiece model was trained on lower-cased text: it has small letters, and hardly a capital one.

    The settings beside a published model do not say it reliably.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = range(processor.GetPieceSize())
    pieces = [
        processor.IdToPiece(token)
        for token in tokens
        if not (processor.IsControl(token) or processor.IsUnknown(token) or processor.IsByte(token))
    ]
    small = sum(any(letter.islower() for letter in piece) for piece in pieces)
    capital = sum(any(letter.isupper() for letter in piece) for piece in pieces)
    return capital < MAX_UPPER_CASE * small


def _folder(name: str, pretrained: Path | None, allow_download: bool) -> Path:
    if pretrained is not None:
        folder = (pretrained / name).resolve()
        if folder.is_dir() and folder.is_relative_to(pretrained.resolve()):
            return folder
    if allow_download:
        return _download(name)
    where = (
        "there is no `pretrained` channel" if pretrained is None else f"there is no folder {name} below {pretrained}"
    )
    raise UserError(
        f"language_model is {name!r} and {where}: put a folder with {CONFIG}, {WEIGHTS} and {TOKENIZER} there, "
        "or set allow_download=true for a name on the Hugging Face hub"
    )


def _download(name: str) -> Path:
    log.info("downloading %s from the Hugging Face hub, as allow_download asks", name)
    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, "*.model"]))
    except Exception as error:  # of the hub, of HTTP, of the network
        raise UserError(f"language_model {name!r} cannot be downloaded: {error}") from error


def _read_config(folder: Path) -> GPT2Config:
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values.get("model_type")
        config = GPT2Config(**values)
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {CONFIG}: it is no folder of a language model") from error
    except Exception as error:  # JSON, or a value that transformers refuses
        raise UserError(f"{path} cannot be read as the configuration of a GPT-2: {error}") from error
    for name, known in _COMPUTED.items():
        value = kind if name == "model_type" else getattr(config, name)
        if value not in known:
            raise UserError(f"{path} has {name} {value!r}: only {' and '.join(map(repr, known))} can be trained here")
    if config.n_embd % config.n_head:
        raise UserError(f"{path} has n_embd {config.n_embd}, which is no multiple of n_head {config.n_head}")
    return config


def _read_tokenizer(folder: Path) -> Tokenizer:
    found = sorted(folder.glob("*.model"))
    preferred = folder / TOKENIZER
    if preferred not in found and len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(f"{folder} has no {TOKENIZER}, and of other SentencePiece models {names}: leave one of them")
    path = preferred if preferred in found else found[0]
    try:
        model = without_leading_space(Tokenizer(path.read_bytes()).model)
    except ValueError as error:
        raise UserError(f"{path} does not fit: {error}") from error
    return Tokenizer(model, lower_case=knows_no_capitals(model))


def _weights_file(folder: Path) -> Path:
    path = folder / WEIGHTS
    if path.is_file():
        return path
    if (folder / "pytorch_model.bin").is_file():
        raise UserError(
            f"{folder} has no {WEIGHTS}, and pytorch_model.bin is not opened because such a file can run code: "
            f"save the model with transformers' save_pretrained, which writes {WEIGHTS}"
        )
    raise UserError(f"{folder} has no {WEIGHTS}")


def _check_shapes(model: LanguageModel) -> None:
    """That the file holds the weights of its configuration, without reading them."""
    try:
        with safetensors.safe_open(model.file, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
    except Exception as error:
        raise UserError(f"{model.file} cannot be read as safetensors: {error}") from error
    found = {_own_name(name): shape for name, shape in shapes.items() if not _is_extra(name)}
    expected = weight_shapes(model.config)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UserError(
                f"{model.file} does not fit {CONFIG}: {name} is {found.get(name, 'missing')}, "
                f"it should be {expected.get(name, 'absent')}"
            )
    size = 4 * sum(math.prod(shape) for shape in expected.values())
    if size > MAX_BYTES:
        raise UserError(
            f"{model.file} holds {size / 1e9:.1f} GB in float32: a graph in one file holds {MAX_BYTES / 1e9:.1f} GB, "
            "so take a smaller language model"
        )


def _own_name(name: str) -> str:
    return name.removeprefix("transformer.")


def _is_extra(name: str) -> bool:
    return name == HEAD or name.endswith(_BUFFERS)
