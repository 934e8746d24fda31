import torch
from torch import Tensor

from ogiri.captioning.training.augmentation import MAX_BRIGHTNESS, augment


def varied(pictures: Tensor, seed: int = 0) -> Tensor:
    return augment(pictures, torch.Generator().manual_seed(seed))


def test_pictures_stay_pictures_and_each_is_varied_in_its_own_way():
    pictures = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8).repeat(6, 1, 1, 1)
    found = varied(pictures)
    assert found.shape == pictures.shape
    assert found.dtype == torch.uint8
    assert len({tuple(one.flatten().tolist()) for one in found}) == 6


def test_the_same_generator_varies_in_the_same_way():
    pictures = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(varied(pictures), varied(pictures))
    assert not torch.equal(varied(pictures), varied(pictures, seed=1))


def test_grey_stays_grey_and_about_as_light():
    found = varied(torch.full((200, 8, 8, 3), 100, dtype=torch.uint8)).float()
    assert (found == found[:, :1, :1, :1]).all()
    assert 100 * (1 - MAX_BRIGHTNESS) - 1 <= found.min() < 90
    assert 110 < found.max() <= 100 * (1 + MAX_BRIGHTNESS) + 1


def test_left_stays_left_and_top_stays_top():
    """A mirror would turn lettering around."""
    picture = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    picture[:, :10, :10] = 255
    for seed in range(100):
        light = varied(picture, seed).float().sum(3)[0]
        assert light[:16, :16].sum() > 0.8 * light.sum()
