"""What training sees of the pictures: feature maps of what is frozen of an encoder, or pixels where nothing is."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ogiri.captioning.data.blocks import Interrupted, Pixels
from ogiri.captioning.data.features import PictureArrays, Share, feature_maps, pixels
from ogiri.captioning.data.records import Records
from ogiri.captioning.model.encoder import Encoder, EncoderHead
from ogiri.captioning.training.augmentation import crop
from ogiri.captioning.training.encoding import frozen
from ogiri.captioning.training.fingerprint import weights_fingerprint
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.projection import (
    Projection,
    fit_projection,
    load_projection,
    sample,
    save_projection,
)
from ogiri.captioning.training.ranks import Ranks
from ogiri.captioning.training.room import MapSizes, check_pixels, choose_channels, find_room, gigabytes
from ogiri.task import TrainingContext, UserError

DECISION = "feature_maps.channels.safetensors"  # copied to S3 with the checkpoint, which belongs to it

log = logging.getLogger(__name__)


def read_pictures(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    records: Records,
    encoder: Encoder,
    device: torch.device,
    ranks: Ranks | None = None,
) -> PictureArrays:
    """Read every picture, encode it as far as the encoder is frozen, and keep that on disk beside the checkpoints.

    Where the maps would not fit the disk, `encoder` gets a last layer that makes them narrower.

    Args:
        context: of the job.
        hp: of the job.
        records: whose pictures are read.
        encoder: with its weights.
        device: where it runs.
        ranks: the processes that share the work; None = this one does all.

    Raises:
        UserError: more than 5 % of the pictures cannot be used, or the disk is too small.
        Interrupted: the job is asked to end.
    """
    folder, keys = context.channels["training"], records.pictures.keys
    ranks = ranks or Ranks()
    share = Share(ranks.local_rank, ranks.local_world)
    if not hp.trains_encoder:
        _narrow(context, hp, keys, encoder, device, ranks)
        still: Encoder | EncoderHead = encoder
    elif encoder.cut is not None:
        still = EncoderHead(encoder, encoder.cut)
        sizes = MapSizes(len(keys), hp.variants, still.cells, still.channels)
        choose_channels(sizes, still.channels, find_room(context.checkpoints))
    else:
        check_pixels(len(keys), hp.image_size, find_room(context.checkpoints))
        return pixels(folder, keys, hp.image_size, context.checkpoints / "pixels", context.stopping, share)
    weights = weights_fingerprint(still)
    with frozen(still, device) as encodes:
        out = context.checkpoints / "feature_maps"
        arrays = feature_maps(folder, keys, encodes, out, weights, context.stopping, share=share)
        variants = []
        for number in range(1, hp.variants + 1):
            log.info("variant %d of %d of the pictures", number, hp.variants)
            out = context.checkpoints / f"feature_maps.{number}"
            fingerprint = f"{weights} variant {number} mirror {hp.mirror}"
            vary = _vary(number, hp.mirror)
            made = feature_maps(folder, keys, encodes, out, fingerprint, context.stopping, vary, share)
            variants.append(made.arrays)
    return replace(arrays, variants=tuple(variants))


def _narrow(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    keys: Sequence[str],
    encoder: Encoder,
    device: torch.device,
    ranks: Ranks,
) -> None:
    """Decide how wide the maps are, or find what was decided, and make the encoder so."""
    if encoder.projection is not None:  # of the job whose weights this one begins with
        if hp.feature_channels not in (0, encoder.channels):
            raise UserError(
                f"feature_channels is {hp.feature_channels}: the encoder in the `model` channel was made for "
                f"{encoder.channels}, so leave it out"
            )
        return
    path, some = context.checkpoints / DECISION, sample(keys)
    sizes = MapSizes(len(keys), hp.variants, encoder.cells, encoder.channels)
    decided_for: dict[str, object] = {
        "encoder": weights_fingerprint(encoder),
        "sample": hashlib.sha256("\0".join(some).encode()).hexdigest(),
        "pictures": len(keys),
        "variants": hp.variants,
        "feature_channels": hp.feature_channels,
    }
    if ranks.leads:
        decided, projection = load_projection(path, decided_for)
        if not decided:
            try:
                projection = _decide(context, hp, sizes, encoder, device, some)
            except Interrupted:
                ranks.spread()
                raise
            save_projection(path, projection, decided_for)
        ranks.spread(path.read_bytes())
    else:
        projection = _received(ranks.spread(), decided_for)
    if projection is not None:
        projection.put_into(encoder)
        log.info(
            "feature maps are projected from %d to %d channels, which keep %.1f %% of their variance",
            *(sizes.channels, encoder.channels, 100 * projection.kept),
        )


def _received(sent: bytes, decided_for: dict[str, object]) -> Projection | None:
    """What the process that leads has decided, for the very same encoder and pictures."""
    if not sent:
        raise Interrupted
    with TemporaryDirectory() as folder:
        path = Path(folder) / DECISION
        path.write_bytes(sent)
        decided, projection = load_projection(path, decided_for)
    if not decided:
        raise RuntimeError("the first process decided the width of feature maps for another encoder or other pictures")
    return projection


def _decide(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    sizes: MapSizes,
    encoder: Encoder,
    device: torch.device,
    some: Sequence[str],
) -> Projection | None:
    room = find_room(context.checkpoints)
    channels = choose_channels(sizes, hp.feature_channels, room)
    log.info(
        "feature maps of %d pictures take %s at %d channels; of %s free beside the checkpoints %s may be used%s",
        *(sizes.pictures, gigabytes(sizes.size(sizes.channels)), sizes.channels),
        *(gigabytes(room.free), gigabytes(room.usable)),
        f": {channels} channels, {gigabytes(sizes.size(channels))}" if channels < sizes.channels else "",
    )
    if channels == sizes.channels:
        return None
    with frozen(encoder, device) as encodes:
        return fit_projection(encodes, context.channels["training"], some, channels, context.stopping)


def _vary(number: int, mirror: bool) -> Callable[[Pixels, int], Pixels]:
    """The same crops in every job, wherever it was interrupted."""

    def vary(pictures: Pixels, first: int) -> Pixels:
        seed = int(np.random.SeedSequence((number, first)).generate_state(1)[0])  # torch takes 32 bits of one
        generator = torch.Generator().manual_seed(seed)
        varied: Pixels = crop(torch.from_numpy(pictures), generator, mirror).numpy()
        return varied

    return vary
