import numpy as np
import torch

from ogiri.captioning.model.encoder import Encoder, build_network
from ogiri.captioning.training.encoding import frozen

SIZE = 64


def test_maps_on_a_cpu_are_those_of_torch():
    torch.manual_seed(0)
    encoder = Encoder("mobilenet_v3_small", SIZE, build_network("mobilenet_v3_small"), pretrained=True).train()
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    with frozen(encoder, torch.device("cpu")) as encodes:
        found = encodes.encode(pictures)
        assert (encodes.size, encodes.cells, encodes.channels) == (SIZE, encoder.cells, encoder.channels)
        one = encodes.encode(pictures[1:2])
    with torch.no_grad():
        expected = encoder(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(one, found[1:2], rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
