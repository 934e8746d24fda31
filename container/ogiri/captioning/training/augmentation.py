"""Small changes to pictures, where the encoder is trained: never a mirror, which would turn lettering around."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MAX_ZOOM = 0.15
MAX_SHIFT = 0.08
MAX_BRIGHTNESS = 0.15


def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Zoom, shift and brighten each picture a little: (batch, size, size, 3) uint8 → the same."""
    batch = pictures.shape[0]
    zoom = 1 + MAX_ZOOM * (2 * torch.rand(batch, generator=generator) - 1)
    shift = MAX_SHIFT * (2 * torch.rand(batch, 2, generator=generator) - 1)
    light = 1 + MAX_BRIGHTNESS * (2 * torch.rand(batch, generator=generator) - 1)
    affine = torch.zeros(batch, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = zoom
    affine[:, :, 2] = shift
    images = pictures.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(affine.to(images.device), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    moved = (moved * light.to(images.device)[:, None, None, None]).clamp(0, 255)
    return moved.round().to(torch.uint8).permute(0, 2, 3, 1)
