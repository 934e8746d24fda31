"""Weights to start from: what an earlier job left, in the `model` channel.

The channel holds an artifact as a folder or a `model.tar.gz`, trained with `export_weights=true`; or one without
weights and beside it `output.tar.gz` of the same job (its `output/data`), which has them always.
"""

from __future__ import annotations

import hashlib
import logging
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from ogiri.artifact import MANIFEST, Artifact, ArtifactError, open_artifact, unpack
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.publish import WEIGHTS_FOLDER, manifest_dimensions
from ogiri.task import UserError

CHANNEL = "model"
ARCHIVE, OUTPUT_ARCHIVE = "model.tar.gz", "output.tar.gz"
MAX_BYTES = 20_000_000_000  # that an archive may unpack to
PARTS = ("encoder", "decoder")

Weights = Mapping[str, Tensor]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WarmStart:
    """What an earlier job left.

    Attributes:
        name: of its artifact.
        tokenizer: of its lines, which stays.
        dimensions: of its decoder, as its manifest has them.
        decoder: weights.
        encoder: weights; None where they were not kept, because the job left its pretrained encoder as it was.
    """

    name: str
    tokenizer: Tokenizer
    dimensions: Mapping[str, Any]
    decoder: Weights
    encoder: Weights | None

    def fingerprint(self) -> str:
        """Of the decoder's weights; the encoder's and the tokenizer are in every job's fingerprint."""
        digest = hashlib.sha256()
        for name, value in sorted(self.decoder.items()):
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def fill_encoder(self, encoder: Encoder) -> None:
        """Give an encoder these weights, where there are some.

        Raises:
            UserError: they are of another network.
        """
        if self.encoder is not None:
            encoder.follow(self.encoder)
            _fill(encoder, self.encoder, "encoder", self.name)

    def fill_decoder(self, decoder: Decoder) -> None:
        """Give a decoder these weights.

        Raises:
            UserError: it has other dimensions.
        """
        own = manifest_dimensions(decoder)
        for name in sorted(own.keys() | self.dimensions.keys()):
            if own.get(name) != self.dimensions.get(name):
                raise UserError(
                    f"the decoder to be trained has {name} {own.get(name)}, and the one of the artifact {self.name} in "
                    f"the `{CHANNEL}` channel has {self.dimensions.get(name)}: give the hyperparameters it had"
                )
        _fill(decoder, self.decoder, "decoder", self.name)


def find_warm_start(channels: Mapping[str, Path], hp: CaptionHyperparameters) -> WarmStart | None:
    """What the `model` channel holds; None where there is no such channel, or it is only to be compared with.

    Raises:
        UserError: it holds no artifact with weights, or one that does not agree with the hyperparameters.
        ArtifactError: it is damaged.
    """
    if CHANNEL not in channels or not hp.start_from_model:
        return None
    with unpacked(channels[CHANNEL]) as folders:
        artifact = open_artifact(folder_of_manifest(folders, channels[CHANNEL]))
        _check(artifact, hp)
        weights = _find_weights([artifact.folder, *folders])
        start = _read(artifact, weights)
    if start.encoder is None and hp.encoder_weights == "none":
        raise UserError(
            f"the artifact {start.name} in the `{CHANNEL}` channel comes without weights of its encoder, which was "
            "frozen then, and encoder_weights is none: set it to pretrained, with the same `pretrained` channel"
        )
    log.info(
        "starting from the artifact %s: decoder%s and a tokenizer of %d tokens",
        start.name,
        "" if start.encoder is None else ", encoder",
        start.tokenizer.vocabulary,
    )
    return start


@contextmanager
def unpacked(channel: Path, names: Sequence[str] = (ARCHIVE, OUTPUT_ARCHIVE)) -> Iterator[list[Path]]:
    """The channel, and what its archives of these names hold; each is unpacked once, and gone after the block.

    Raises:
        UserError: an archive is too large to be what it should be.
        ArtifactError: it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="ogiri-model-") as temporary:
        folders = [channel]
        for name in names:
            for number, archive in enumerate(sorted(channel.rglob(name))):
                _check_size(archive)
                folders.append(Path(temporary) / f"{name}.{number}")
                unpack(archive, folders[-1])
        yield folders


def _check_size(archive: Path) -> None:
    """Read the headers before anything is written."""
    size = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                size += member.size
                if size > MAX_BYTES:
                    raise UserError(f"{archive} unpacks to more than {MAX_BYTES / 1e9:g} GB: it is no artifact")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ArtifactError(f"{archive} cannot be read ({error}): copy it again") from error


def folder_of_manifest(folders: list[Path], channel: Path) -> Path:
    """Which of the folders is the artifact.

    Raises:
        UserError: none is, or several are.
    """
    found = sorted({path.parent for folder in folders for path in folder.rglob(MANIFEST)})
    if len(found) == 1:
        return found[0]
    said = "several artifacts" if found else f"no artifact, neither {MANIFEST} nor {ARCHIVE}"
    raise UserError(
        f"the `{CHANNEL}` channel {channel} holds {said}: let it hold one, such as the {ARCHIVE} of an earlier job, "
        "or leave the channel out"
    )


def _check(artifact: Artifact, hp: CaptionHyperparameters) -> None:
    """That it was trained with what the hyperparameters say, as far as can be told before any data is read."""
    if artifact.task != hp.task:
        raise UserError(
            f"the artifact {artifact.name} in the `{CHANNEL}` channel is of the task {artifact.task}, and task is "
            f"{hp.task}: start from one of the same task"
        )
    preprocessing, decoding = artifact.manifest["preprocessing"], artifact.manifest["decoding"]
    dimensions = decoding["dimensions"]
    wanted: dict[str, tuple[Any, Any]] = {
        "encoder": (hp.encoder, preprocessing["encoder"]),
        "image_size": (hp.image_size, preprocessing["size"]),
        "decoder": (hp.decoder, decoding["decoder"]),
    }
    if not hp.language_model:
        wanted |= {
            "decoder_width": (hp.width, dimensions["width"]),
            "decoder_layers": (hp.layers, dimensions["layers"]),
        }
    if "positions" in dimensions:
        wanted["max_length"] = (hp.max_length, dimensions["positions"] - 1)
    for name, (own, its) in wanted.items():
        if own != its:
            raise UserError(
                f"{name} is {own}, and the artifact {artifact.name} in the `{CHANNEL}` channel was trained with {its}: "
                f"set {name}={its}, or leave the channel out"
            )


def _find_weights(folders: list[Path]) -> dict[str, Path]:
    """Part → file, the artifact's own before those of the job's output."""
    found: dict[str, Path] = {}
    for folder in folders:
        for part in PARTS:
            for path in sorted(folder.rglob(f"{WEIGHTS_FOLDER}/{part}.safetensors")):
                found.setdefault(part, path)
    return found


def _read(artifact: Artifact, weights: Mapping[str, Path]) -> WarmStart:
    if "decoder" not in weights:
        raise UserError(
            f"the artifact {artifact.name} in the `{CHANNEL}` channel carries no weights to train on: put the "
            f"{OUTPUT_ARCHIVE} of its job beside it, which has them, or train it with export_weights=true"
        )
    tokenizer = artifact.manifest["tokenizer"]
    return WarmStart(
        name=artifact.name,
        tokenizer=Tokenizer(artifact.path(tokenizer["file"]).read_bytes(), bool(tokenizer["lower_case"])),
        dimensions=artifact.manifest["decoding"]["dimensions"],
        decoder=_load(weights["decoder"]),
        encoder=_load(weights["encoder"]) if "encoder" in weights else None,
    )


def _load(path: Path) -> Weights:
    try:
        return safetensors.torch.load(path.read_bytes())
    except Exception as error:  # safetensors has an exception of its own, and lets others through
        raise UserError(f"{path} cannot be read as safetensors: {error}") from error


def _fill(part: nn.Module, weights: Weights, kind: str, name: str) -> None:
    own = {key: tuple(value.shape) for key, value in part.state_dict().items()}
    its = {key: tuple(value.shape) for key, value in weights.items()}
    for key in sorted(own.keys() | its.keys()):
        if own.get(key) != its.get(key):
            raise UserError(
                f"the {kind} of the artifact {name} has {its.get(key, 'nothing')} for {key}, and the one to be trained "
                f"{own.get(key, 'nothing')}: they are not of one kind"
            )
    part.load_state_dict(weights)
