from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ogiri.captioning.training.augmentation import CROP_FROM, CROP_TO, MAX_BRIGHTNESS, augment, crop

Vary = Callable[[Tensor, torch.Generator, bool], Tensor]


def varied(pictures: Tensor, seed: int = 0, mirror: bool = False, how: Vary = augment) -> Tensor:
    return how(pictures, torch.Generator().manual_seed(seed), mirror)


@pytest.mark.parametrize("how", [augment, crop])
def test_pictures_stay_pictures_and_each_is_varied_in_its_own_way(how: Vary):
    pictures = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8).repeat(6, 1, 1, 1)
    found = varied(pictures, how=how)
    assert found.shape == pictures.shape
    assert found.dtype == torch.uint8
    assert len({tuple(one.flatten().tolist()) for one in found}) == 6


@pytest.mark.parametrize("how", [augment, crop])
def test_the_same_generator_varies_in_the_same_way(how: Vary):
    pictures = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(varied(pictures, how=how, mirror=True), varied(pictures, how=how, mirror=True))
    assert not torch.equal(varied(pictures, how=how), varied(pictures, seed=1, how=how))


def test_grey_stays_grey_and_about_as_light():
    found = varied(torch.full((200, 8, 8, 3), 100, dtype=torch.uint8)).float()
    assert (found == found[:, :1, :1, :1]).all()
    assert 100 * (1 - MAX_BRIGHTNESS) - 1 <= found.min() < 90
    assert 110 < found.max() <= 100 * (1 + MAX_BRIGHTNESS) + 1


@pytest.mark.parametrize("how", [augment, crop])
def test_left_stays_left_and_top_stays_top(how: Vary):
    """A mirror would turn lettering around."""
    picture = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    picture[:, :10, :10] = 255
    for seed in range(100):
        light = varied(picture, seed, how=how).float().sum(3)[0]
        assert light[:16, :16].sum() > 0.8 * light.sum()


@pytest.mark.parametrize("how", [augment, crop])
def test_half_of_the_pictures_are_mirrored_where_that_is_asked_for(how: Vary):
    pictures = torch.zeros(1000, 16, 16, 3, dtype=torch.uint8)
    pictures[:, :, :5] = 255
    light = varied(pictures, mirror=True, how=how).float().sum((1, 3))
    right = light[:, 8:].sum(1) > light[:, :8].sum(1)
    assert right.double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_a_crop_is_a_part_of_the_picture_in_its_full_size():
    ramp = torch.linspace(0, 255, 64).round().to(torch.uint8)  # from left to right
    pictures = ramp[None, None, :, None].expand(500, 64, 64, 3)
    found = varied(pictures, how=crop).float()
    assert (found - found[:, :1, :, :1]).abs().max() <= 1
    sides = (found[:, 0, -2, 0] - found[:, 0, 1, 0]) / (61 / 63 * 255)  # the outermost pixels lie half outside
    assert CROP_FROM - 0.02 < sides.min() < CROP_FROM + 0.03
    assert CROP_TO - 0.03 < sides.max() < CROP_TO + 0.02
    assert found[:, 0, 1, 0].min() < 8
    assert found[:, 0, -2, 0].max() > 247
