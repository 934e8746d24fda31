"""What is trained: a decoder, and with it an encoder where its weights are trained too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogiri.captioning.model.decoder import Decoder, Prefix
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.training.augmentation import augment
from ogiri.captioning.training.examples import Batch


@dataclass
class Model:
    """What is trained: a decoder, and an encoder where its weights are trained too (else None)."""

    decoder: Decoder
    encoder: Encoder | None

    def modules(self) -> list[nn.Module]:
        """The parts with weights."""
        return [part for part in (self.decoder, self.encoder) if part is not None]

    def train(self, mode: bool) -> None:
        """Switch dropout and batch statistics."""
        for part in self.modules():
            part.train(mode)

    def prefix(
        self,
        batch: Batch,
        device: torch.device,
        generator: torch.Generator | None = None,
        mirror: bool = False,
        map_dropout: float = 0.0,
    ) -> Prefix:
        """The prefix of a batch with its feature map.

        Args:
            batch: whose pictures are shown.
            device: of the model.
            generator: where given, pixels are varied for training.
            mirror: half of the varied pixels are mirrored too.
            map_dropout: share of the channels of each picture's map that are hidden in all of its cells, for training.
        """
        pictures = batch.pictures.to(device)
        if self.encoder is not None:
            if generator is not None and self.encoder.cut is None:
                pictures = augment(pictures, generator, mirror)
            pictures = self.encoder.finish(pictures)
        maps = pictures.float()
        if map_dropout:
            maps = maps * functional.dropout(maps.new_ones(len(maps), 1, maps.shape[2]), map_dropout)
        return replace(batch.prefix.to(device), map=maps, map_of=batch.row_picture.to(device))

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Weights by part, copied."""
        parts: dict[str, nn.Module] = {"decoder": self.decoder}
        if self.encoder is not None:
            parts["encoder"] = self.encoder
        return {n: {k: v.detach().clone() for k, v in part.state_dict().items()} for n, part in parts.items()}

    def load_state_dict(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """The reverse of `state_dict`."""
        self.decoder.load_state_dict(weights["decoder"])
        if self.encoder is not None:
            self.encoder.load_state_dict(weights["encoder"])
