import torch

from ogiri.captioning.model.decoder import Prefix
from ogiri.captioning.training.examples import Batch
from ogiri.captioning.training.model import Model

CPU = torch.device("cpu")
ROWS, CELLS, CHANNELS = 64, 9, 200


def batch() -> Batch:
    """Every row looks at the same picture, all of whose cells and channels are 1."""
    nothing = torch.zeros(ROWS, 0, dtype=torch.int64)
    prefix = Prefix(torch.zeros(ROWS, 0, 0), nothing[..., None], nothing, nothing, torch.zeros(ROWS, 2).long())
    picture = torch.ones(1, CELLS, CHANNELS)
    rows = torch.zeros(ROWS, dtype=torch.int64)
    return Batch(picture, rows, prefix, nothing, nothing, torch.ones(ROWS), rows.numpy())


def test_channels_of_a_map_are_hidden_in_all_cells_of_a_row_and_in_each_row_others():
    seen = Model(torch.nn.Identity(), None).prefix(batch(), CPU, map_dropout=0.4).map
    assert seen.shape == (ROWS, CELLS, CHANNELS)
    assert set(seen.unique().tolist()) == {0.0, torch.tensor(1 / 0.6).item()}
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    assert abs((seen == 0).float().mean().item() - 0.4) < 0.02
    assert len(seen[:, 0].unique(dim=0)) == ROWS


def test_without_dropout_maps_are_as_they_are():
    assert torch.equal(Model(torch.nn.Identity(), None).prefix(batch(), CPU).map, torch.ones(ROWS, CELLS, CHANNELS))
