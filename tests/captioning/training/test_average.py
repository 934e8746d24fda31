from __future__ import annotations

import pytest
import torch
from torch import nn

from ogiri.captioning.training.average import Average


def walked(decay: float, steps: int) -> tuple[nn.Linear, Average]:
    """A weight that goes 1, 2, 3, …, and its average."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average = Average([layer], decay)
    for step in range(1, steps + 1):
        nn.init.constant_(layer.weight, step)
        average.update()
    return layer, average


def test_the_average_follows_the_weights_and_leaves_them_alone():
    layer, average = walked(0.5, 4)
    expected = 0.0
    for updates, weight in enumerate((1.0, 2.0, 3.0, 4.0), 1):
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * weight
    with average.applied():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 4.0


def test_without_decay_the_average_is_the_weights():
    layer, average = walked(0.0, 3)
    with average.applied():
        assert layer.weight.item() == 3.0


def test_the_own_weights_come_back_after_an_error():
    layer, average = walked(0.9, 3)

    def fail() -> None:
        with average.applied():
            assert layer.weight.item() != 3.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert layer.weight.item() == 3.0


def test_goes_on_from_its_state():
    layer, average = walked(0.9, 5)
    other_layer, other = walked(0.9, 0)
    other.load_state_dict({"averages": [a.clone() for a in average.state_dict()["averages"]], "updates": 5})
    for a, b in ((layer, average), (other_layer, other)):
        nn.init.constant_(a.weight, 9.0)
        b.update()
    with average.applied(), other.applied():
        assert torch.equal(layer.weight, other_layer.weight)
