"""Which maps training sees, on real disks; the encoder is a small one."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogiri import picture
from ogiri.captioning.data.blocks import Interrupted
from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.training import room
from ogiri.captioning.training.pictures import DECISION, read_pictures
from ogiri.captioning.training.ranks import Ranks
from ogiri.parameter import ParameterError
from ogiri.record import Record
from ogiri.task import TrainingContext, UserError
from tests.captioning.training.small import CHANNELS, hyperparameters, small_encoder
from tests.contract.training import drawn

KEYS = [f"{n}.png" for n in range(10)]
SIZE, CELLS = 32, 16
BYTES = len(KEYS) * CELLS * CHANNELS * 2  # of all maps


@pytest.fixture
def context(tmp_path: Path) -> TrainingContext:
    (tmp_path / "training").mkdir()
    for n, key in enumerate(KEYS):
        (tmp_path / "training" / key).write_bytes(drawn(n))
    return TrainingContext(
        hyperparameters=None,
        channels={"training": tmp_path / "training"},
        model=tmp_path / "model",
        output=tmp_path / "output",
        checkpoints=tmp_path / "checkpoints",
        job_name="job",
        stopping=lambda: False,
        report_metrics=lambda metrics: None,
    )


def records() -> Records:
    builder = RecordsBuilder()
    for key in KEYS:
        builder.add(Record(key, "行", (), ""))
    return builder.build()


def read(context: TrainingContext, encoder: Encoder, ranks: Ranks | None = None, **values: Any) -> PictureArrays:
    hp = hyperparameters(encoder="resnet18", image_size=SIZE, **values)
    return read_pictures(context, hp, records(), encoder, torch.device("cpu"), ranks)


def as_encoded(context: TrainingContext, encoder: Encoder) -> np.ndarray:
    pictures = [picture.load((context.channels["training"] / key).read_bytes(), SIZE) for key in KEYS]
    with torch.no_grad():
        return encoder(torch.from_numpy(np.stack(pictures))).numpy()


class Second(Ranks):
    """The second of two processes of a host, which is told what the first has decided."""

    rank, world, local_rank, local_world = 1, 2, 1, 2

    def __init__(self, decided: bytes) -> None:
        super().__init__()
        self._decided = decided

    def spread(self, data: bytes = b"") -> bytes:
        return self._decided


@pytest.fixture
def room_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[float], None]:
    """Makes the disk, of which a share may be used, as small as that."""

    def make(size: float) -> None:
        monkeypatch.setattr(room, "DISK_SHARE", size / shutil.disk_usage(tmp_path).free)
        monkeypatch.setattr(room, "WIDTH_STEP", 2)
        monkeypatch.setattr(room, "MIN_CHANNELS", 4)

    return make


def test_maps_that_fit_are_the_encoders(context: TrainingContext, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    encoder = small_encoder()
    arrays = read(context, encoder)
    np.testing.assert_allclose(arrays.arrays[:], as_encoded(context, small_encoder()), rtol=2e-3, atol=1e-3)
    assert encoder.projection is None
    assert "feature maps of 10 pictures take 0.0 MB at 8 channels; of " in caplog.text


@pytest.mark.parametrize("variants", [0, 1])
def test_maps_that_do_not_fit_are_made_narrower(
    context: TrainingContext, room_for: Callable[[float], None], caplog: pytest.LogCaptureFixture, variants: int
):
    caplog.set_level(logging.INFO)
    room_for((1 + variants) * BYTES * 0.85)
    encoder = small_encoder()
    arrays = read(context, encoder, variants=variants)
    assert (encoder.channels, arrays.arrays.shape) == (6, (10, CELLS, 6))
    assert [variant.shape for variant in arrays.variants] == variants * [(10, CELLS, 6)]
    np.testing.assert_allclose(arrays.arrays[:], as_encoded(context, encoder), rtol=2e-3, atol=1e-2)
    assert ": 6 channels, 0.0 MB" in caplog.text
    assert "feature maps are projected from 8 to 6 channels, which keep" in caplog.text


def test_of_all_that_is_lost_little_could_be_kept(context: TrainingContext):
    """Twenty random projections of the same width lose more."""
    narrow = small_encoder()
    read(context, narrow, feature_channels=4)
    maps = as_encoded(context, small_encoder()).reshape(-1, CHANNELS)
    centred = maps - maps.mean(0)

    def lost(weight: np.ndarray) -> float:
        return float(np.square(centred - centred @ weight.T @ weight).sum())

    rng = np.random.default_rng(0)
    others = [np.linalg.qr(rng.standard_normal((CHANNELS, 4)))[0].T for _ in range(20)]
    assert lost(narrow.projection.weight.numpy()) < min(map(lost, others))


def test_a_disk_that_is_too_small_is_a_users_error(context: TrainingContext, room_for: Callable[[float], None]):
    room_for(BYTES / 4)
    with pytest.raises(UserError, match=r"need 0\.0 MB at 4 of 8 channels, .+ VolumeSizeInGB"):
        read(context, small_encoder())
    with pytest.raises(UserError, match=r"10 pictures of 32 × 32 pixels need 0\.0 MB, .+ VolumeSizeInGB"):
        read(context, small_encoder(), encoder_weights="none")
    assert not any(context.checkpoints.iterdir())


def test_a_restarted_job_keeps_what_was_decided(context: TrainingContext, room_for: Callable[[float], None]):
    """The checkpoint, which SageMaker brings back with the decision, belongs to it; the shards are lost."""
    room_for(0.85 * BYTES)
    first = small_encoder()
    read(context, first)
    for path in context.checkpoints.glob("*.sagemaker-ignore"):
        path.unlink()
    assert [path.name for path in context.checkpoints.iterdir()] == [DECISION]
    room_for(100 * BYTES)
    (context.channels["training"] / KEYS[0]).write_bytes(drawn(20))
    again = small_encoder()
    read(context, again)
    torch.testing.assert_close(again.projection.weight, first.projection.weight, rtol=0, atol=0)


@pytest.mark.parametrize("other", [{"feature_channels": 5}, {"variants": 1}, {"weights": 1}])
def test_another_job_decides_anew(context: TrainingContext, room_for: Callable[[float], None], other: dict[str, int]):
    room_for(0.85 * BYTES)
    read(context, small_encoder())
    encoder = small_encoder()
    if other.pop("weights", 0):
        with torch.no_grad():
            next(encoder.parameters()).mul_(2)
    room_for(100 * BYTES)
    assert read(context, encoder, **other).arrays.shape[2] == other.get("feature_channels", CHANNELS)


def test_an_encoder_that_an_earlier_job_made_narrower_stays_so(context: TrainingContext):
    earlier, encoder = small_encoder(), small_encoder()
    read(context, earlier, feature_channels=5)
    encoder.follow(earlier.state_dict())
    encoder.load_state_dict(earlier.state_dict())
    shutil.rmtree(context.checkpoints)
    assert read(context, encoder).arrays.shape[2] == 5
    torch.testing.assert_close(encoder.projection.weight, earlier.projection.weight, rtol=0, atol=0)
    with pytest.raises(UserError, match="feature_channels is 4: the encoder in the `model` channel was made for 5"):
        read(context, encoder, feature_channels=4)


def test_pictures_of_an_encoder_that_is_trained_have_no_channels_to_choose():
    with pytest.raises(ParameterError, match="feature_channels is 5 and the encoder is trained"):
        hyperparameters(encoder_weights="none", feature_channels=5)


def test_a_second_process_takes_what_the_first_decides(context: TrainingContext):
    read(context, small_encoder(), feature_channels=5)
    second = small_encoder()
    decided = (context.checkpoints / DECISION).read_bytes()
    assert read(context, second, Second(decided), feature_channels=5).arrays.shape[2] == 5
    with pytest.raises(Interrupted):  # as the first was
        read(context, small_encoder(), Second(b""), feature_channels=5)
    with pytest.raises(RuntimeError, match="for another encoder or other pictures"):
        read(context, small_encoder(), Second(decided), feature_channels=4)


def test_variants_do_not_depend_on_what_was_there(context: TrainingContext):
    first = read(context, small_encoder(), variants=2)
    whole = [variant[:] for variant in first.variants]
    assert not np.array_equal(whole[0], whole[1])
    (context.checkpoints / "feature_maps.2.00000.sagemaker-ignore").unlink()
    again = read(context, small_encoder(), variants=2)
    for variant, expected in zip(again.variants, whole, strict=True):
        np.testing.assert_array_equal(variant[:], expected)


def test_a_million_names_are_no_part_of_what_lies_beside_the_checkpoint(context: TrainingContext):
    read(context, small_encoder())
    assert (context.checkpoints / DECISION).stat().st_size < 1000
    tail = (context.checkpoints / "feature_maps.00000.sagemaker-ignore").read_bytes()[BYTES + 32 * len(KEYS) : -8]
    assert KEYS[0] not in json.dumps(json.loads(tail))
