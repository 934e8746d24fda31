"""Feature maps made narrower by a fixed linear layer: the principal components of some pictures' cells.

Neighbouring channels of a trained network say much of the same. The layer is fitted once, is part of the encoder from
then on, of its fingerprint and of its graph, and lies beside the checkpoint, so that a restarted job has the very same.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch

from ogiri.captioning.data.blocks import BlockMaker, Pixels
from ogiri.captioning.data.features import FrozenEncoder
from ogiri.captioning.data.shards import BLOCK_ROWS, Block
from ogiri.captioning.model.encoder import Encoder
from ogiri.task import UserError

SAMPLE_PICTURES = 512

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Projection:
    """The map's cells are multiplied by `weight` and shifted by `bias`.

    Attributes:
        weight: float32 (channels, the trunk's channels), its rows orthonormal.
        bias: float32 (channels,), so that the sample's mean comes out as 0.
        kept: share of the sample's variance that is left.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    kept: float

    def put_into(self, encoder: Encoder) -> None:
        """Make it the last layer of an encoder."""
        layer = encoder.narrow(len(self.weight))
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weight))
            layer.bias.copy_(torch.from_numpy(self.bias))


def sample(keys: Sequence[str]) -> list[str]:
    """Some pictures, evenly spread: the same for the same keys."""
    chosen = np.unique(np.linspace(0, len(keys) - 1, min(SAMPLE_PICTURES, len(keys))).astype(np.int64))
    return [keys[row] for row in chosen.tolist()]


def fit_projection(
    encoder: FrozenEncoder, folder: Path, keys: Sequence[str], channels: int, stopping: Callable[[], bool]
) -> Projection:
    """The principal components of the cells of some pictures.

    Args:
        encoder: whose maps are to be made narrower.
        folder: where the pictures lie, `keys` below it.
        keys: of the sample; pictures that cannot be used are passed over.
        channels: how many components.
        stopping: true once the job is asked to end.

    Raises:
        UserError: none of the pictures can be used.
        Interrupted: `stopping` turned true.
    """
    count, total = 0, np.zeros(encoder.channels)
    squares = np.zeros((encoder.channels, encoder.channels))
    reason = ""
    for block in _encoded(encoder, folder, keys, stopping):
        usable = np.ones(len(block.rows), bool)
        for place, why in block.broken:
            usable[place], reason = False, reason or why
        cells = block.rows[usable].reshape(-1, encoder.channels)
        count += len(cells)
        total += cells.sum(0, dtype=np.float64)
        squares += cells.T @ cells
    if not count:
        raise UserError(
            f"none of {len(keys)} pictures can be used: first {keys[0]}: {reason}. Check the `training` channel"
        )
    mean = total / count
    variances, vectors = np.linalg.eigh(squares / count - np.outer(mean, mean))
    weight = vectors[:, ::-1][:, :channels].T
    largest = np.take_along_axis(weight, np.abs(weight).argmax(1, keepdims=True), 1)
    weight = weight * np.sign(largest)  # eigenvectors have no sign of their own
    kept = variances[::-1][:channels].sum() / max(variances.sum(), np.finfo(np.float64).tiny)
    rows = np.ascontiguousarray(weight, np.float32)  # a transposed array would be saved wrongly
    return Projection(rows, (-weight @ mean).astype(np.float32), float(kept))


def _encoded(
    encoder: FrozenEncoder, folder: Path, keys: Sequence[str], stopping: Callable[[], bool]
) -> Iterator[Block]:
    """Maps as the encoder has them, (n, cells, channels) float32."""

    def encode(pictures: Pixels, _first: int, go_on: Callable[[], None]) -> npt.NDArray[np.float32]:
        parts = []
        for start in range(0, len(pictures), encoder.batch):
            go_on()
            parts.append(encoder.encode(pictures[start : start + encoder.batch]).astype(np.float32))
        return np.concatenate(parts)

    shape, dtype = (encoder.cells, encoder.channels), np.dtype(np.float32)
    rows = range(len(keys))
    maker = BlockMaker(folder, keys, encoder.size, shape, dtype, encode, stopping)
    return maker.blocks(rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS))


def save_projection(path: Path, projection: Projection | None, decided_for: dict[str, object]) -> None:
    """Write what was decided, whole or not at all; None = the maps stay as they are."""
    tensors = {} if projection is None else {"weight": projection.weight, "bias": projection.bias}
    kept = 1.0 if projection is None else projection.kept
    temporary = path.with_name(path.name + ".part.sagemaker-ignore")
    metadata = {"decided_for": json.dumps(decided_for, sort_keys=True), "kept": repr(kept)}
    safetensors.numpy.save_file(tensors, temporary, metadata)
    os.replace(temporary, path)


def load_projection(path: Path, decided_for: dict[str, object]) -> tuple[bool, Projection | None]:
    """Whether something was decided for the very same, and what."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("decided_for") != json.dumps(decided_for, sort_keys=True):
                return False, None
            if not file.keys():
                return True, None
            return True, Projection(file.get_tensor("weight"), file.get_tensor("bias"), float(metadata["kept"]))
    except (OSError, safetensors.SafetensorError):
        return False, None
