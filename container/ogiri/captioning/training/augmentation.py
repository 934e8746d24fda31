"""Pictures as they might have been taken too. Mirrored only where that is asked for: it turns lettering around.

`augment` is for an encoder that is trained, which sees each picture many times; `crop` for one that is frozen, whose
maps of a few variants are kept.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MAX_ZOOM = 0.15
MAX_SHIFT = 0.08
MAX_BRIGHTNESS = 0.15
CROP_FROM, CROP_TO = 0.75, 0.95  # share of a picture's side that a crop keeps


def augment(pictures: Tensor, generator: torch.Generator, mirror: bool) -> Tensor:
    """Zoom, shift and brighten each picture a little: (batch, size, size, 3) uint8 → the same."""
    batch = pictures.shape[0]
    zoom = 1 + MAX_ZOOM * (2 * torch.rand(batch, generator=generator) - 1)
    shift = MAX_SHIFT * (2 * torch.rand(batch, 2, generator=generator) - 1)
    light = 1 + MAX_BRIGHTNESS * (2 * torch.rand(batch, generator=generator) - 1)
    moved = _moved(pictures, zoom, shift, mirror, generator)
    return _pixels(moved * light.to(moved.device)[:, None, None, None])


def crop(pictures: Tensor, generator: torch.Generator, mirror: bool) -> Tensor:
    """A part of each picture in its full size: (batch, size, size, 3) uint8 → the same."""
    batch = pictures.shape[0]
    side = CROP_FROM + (CROP_TO - CROP_FROM) * torch.rand(batch, generator=generator)
    room = (1 - side)[:, None] * (2 * torch.rand(batch, 2, generator=generator) - 1)
    return _pixels(_moved(pictures, side, room, mirror, generator))


def _moved(pictures: Tensor, scale: Tensor, shift: Tensor, mirror: bool, generator: torch.Generator) -> Tensor:
    """(batch, 3, size, size) float: every other picture mirrored where that is allowed."""
    turn = torch.ones_like(scale)
    if mirror:
        turn -= 2 * torch.randint(2, scale.shape, generator=generator)
    affine = torch.zeros(len(scale), 2, 3)
    affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = scale * turn, scale, shift
    images = pictures.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _pixels(images: Tensor) -> Tensor:
    return images.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)
