"""What training sees of the pictures: feature maps of a frozen encoder, or pixels for one that is trained."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import torch

from ogiri.captioning.data.features import PictureArrays, feature_maps, pixels
from ogiri.captioning.data.records import Records
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.training.augmentation import crop
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
    encoder.requires_grad_(False).eval().to(device)
    weights = weights_fingerprint(encoder)
    out = context.checkpoints / "feature_maps.f16.sagemaker-ignore"
    arrays = feature_maps(folder, keys, encoder, out, weights, context.stopping)
    variants = []
    for number in range(1, hp.variants + 1):
        log.info("variant %d of %d of the pictures", number, hp.variants)
        out = context.checkpoints / f"feature_maps.{number}.f16.sagemaker-ignore"
        vary = partial(crop, generator=torch.Generator().manual_seed(number), mirror=hp.mirror)
        fingerprint = f"{weights} variant {number} mirror {hp.mirror}"
        variants.append(feature_maps(folder, keys, encoder, out, fingerprint, context.stopping, vary).arrays)
    return replace(arrays, variants=tuple(variants))
