"""What training sees of the pictures: feature maps of a frozen encoder, or pixels for one that is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import torch

from ogiri.captioning.data.features import PictureArrays, Pixels, feature_maps, pixels
from ogiri.captioning.data.records import Records
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.training.augmentation import crop
from ogiri.captioning.training.encoding import frozen
from ogiri.captioning.training.fingerprint import weights_fingerprint
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.task import TrainingContext

log = logging.getLogger(__name__)


def read_pictures(
    context: TrainingContext, hp: CaptionHyperparameters, records: Records, encoder: Encoder, device: torch.device
) -> PictureArrays:
    """Read every picture, encode it where the encoder is frozen, and keep that on disk beside the checkpoints.

    Raises:
        UserError: more than 5 % of the pictures cannot be used.
        Interrupted: the job is asked to end.
    """
    folder, keys = context.channels["training"], [picture.key for picture in records.pictures]
    if hp.trains_encoder:
        out = context.checkpoints / "pixels.u8.sagemaker-ignore"
        return pixels(folder, keys, hp.image_size, out, context.stopping)
    weights = weights_fingerprint(encoder)
    with frozen(encoder, device) as encodes:
        out = context.checkpoints / "feature_maps.f16.sagemaker-ignore"
        arrays = feature_maps(folder, keys, encodes, out, weights, context.stopping)
        variants = []
        for number in range(1, hp.variants + 1):
            log.info("variant %d of %d of the pictures", number, hp.variants)
            out = context.checkpoints / f"feature_maps.{number}.f16.sagemaker-ignore"
            fingerprint = f"{weights} variant {number} mirror {hp.mirror}"
            vary = _vary(number, hp.mirror)
            variants.append(feature_maps(folder, keys, encodes, out, fingerprint, context.stopping, vary).arrays)
    return replace(arrays, variants=tuple(variants))


def _vary(number: int, mirror: bool) -> Callable[[Pixels], Pixels]:
    """The same crops in every job."""
    generator = torch.Generator().manual_seed(number)

    def vary(pictures: Pixels) -> Pixels:
        varied: Pixels = crop(torch.from_numpy(pictures), generator, mirror).numpy()
        return varied

    return vary
