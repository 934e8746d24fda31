import torch

from ogiri.captioning.model.decoder import Prefix
from ogiri.captioning.training.examples import Batch
from ogiri.captioning.training.model import Model

CPU = torch.device("cpu")
PICTURES, CELLS, CHANNELS = 64, 9, 200


def batch() -> Batch:
    """Two rows for each picture, all of whose cells and channels are 1."""
    rows = torch.arange(PICTURES).repeat(2)
    nothing = torch.zeros(len(rows), 0, dtype=torch.int64)
    prefix = Prefix(
        torch.zeros(len(rows), 0, 0), nothing[..., None], nothing, nothing, torch.zeros(len(rows), 2).long()
    )
    pictures = torch.ones(PICTURES, CELLS, CHANNELS)
    return Batch(pictures, rows, prefix, nothing, nothing, torch.ones(len(rows)), rows.numpy())


def test_channels_of_a_map_are_hidden_in_all_its_cells_and_of_each_map_others():
    seen = Model(torch.nn.Identity(), None).prefix(batch(), CPU, map_dropout=0.4).map
    assert seen.shape == (PICTURES, CELLS, CHANNELS)
    assert set(seen.unique().tolist()) == {0.0, torch.tensor(1 / 0.6).item()}
    assert torch.equal(seen, seen[:, :1].expand_as(seen))
    assert abs((seen == 0).float().mean().item() - 0.4) < 0.02
    assert len(seen[:, 0].unique(dim=0)) == PICTURES


def test_rows_share_the_map_of_their_picture_and_without_dropout_it_is_as_it_is():
    prefix = Model(torch.nn.Identity(), None).prefix(batch(), CPU)
    assert torch.equal(prefix.map, torch.ones(PICTURES, CELLS, CHANNELS))
    assert torch.equal(prefix.map_of, batch().row_picture)
    assert len(prefix) == 2 * PICTURES
