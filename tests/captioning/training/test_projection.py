from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ogiri.captioning.data.blocks import Interrupted
from ogiri.captioning.serving.engine import open_session
from ogiri.captioning.training.export import export_encoder
from ogiri.captioning.training.fingerprint import weights_fingerprint
from ogiri.captioning.training.projection import (
    SAMPLE_PICTURES,
    Projection,
    fit_projection,
    load_projection,
    sample,
    save_projection,
)
from ogiri.task import UserError
from tests.captioning.training.small import CHANNELS, small_encoder

KEYS = [f"{n}.png" for n in range(40)]
WIDTH = 3
FOR: dict[str, object] = {"encoder": "abc", "pictures": 40}


class Mixed:
    """Maps of six channels that are mixtures of the mean colours of a picture's three bands: three directions."""

    size, cells, channels, batch = 12, 3, 6, 4
    mixture = np.random.default_rng(0).standard_normal((3, 6))

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        colours = pictures.reshape(-1, 3, 4 * 12, 3).mean(2) / 255
        return colours @ self.mixture + 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    (tmp_path / "training").mkdir()
    for key in KEYS:
        bands = np.repeat(rng.integers(0, 256, (3, 1, 3), np.uint8), 4, axis=0)
        Image.fromarray(np.repeat(bands, 12, axis=1)).save(tmp_path / "training" / key)
    return tmp_path / "training"


def fit(folder: Path, channels: int = WIDTH) -> Projection:
    return fit_projection(Mixed(), folder, KEYS, channels, lambda: False)


def maps(folder: Path) -> np.ndarray:
    pictures = np.stack([np.asarray(Image.open(folder / key)) for key in KEYS])
    return Mixed().encode(pictures).reshape(-1, 6)


def test_what_lies_in_few_directions_is_kept_whole(folder: Path):
    projection, cells = fit(folder), maps(folder)
    assert (projection.weight.shape, projection.bias.shape) == ((WIDTH, 6), (WIDTH,))
    assert projection.kept == pytest.approx(1, abs=1e-5)
    narrow = cells @ projection.weight.T + projection.bias
    np.testing.assert_allclose(narrow @ projection.weight + cells.mean(0), cells, atol=1e-4)
    np.testing.assert_allclose(narrow.mean(0), 0, atol=1e-4)


def test_the_first_directions_are_those_that_vary_most(folder: Path):
    one, three = fit(folder, 1), fit(folder)
    variances = (maps(folder) @ three.weight.T).var(0)
    assert variances[0] > variances[1] > variances[2]
    np.testing.assert_allclose(one.weight, three.weight[:1], atol=1e-5)
    assert one.kept == pytest.approx(variances[0] / variances.sum(), abs=1e-4)


def test_it_is_the_same_each_time_and_has_one_sign(folder: Path):
    first, second = fit(folder), fit(folder)
    np.testing.assert_array_equal(first.weight, second.weight)
    assert (first.weight.max(1) == np.abs(first.weight).max(1)).all()


def test_pictures_that_cannot_be_used_are_passed_over(folder: Path):
    expected = fit_projection(Mixed(), folder, [KEYS[n] for n in range(40) if n != 3], WIDTH, lambda: False)
    (folder / KEYS[3]).write_bytes(b"none")
    found = fit(folder)
    np.testing.assert_allclose(found.weight, expected.weight, atol=1e-5)
    np.testing.assert_allclose(found.bias, expected.bias, atol=1e-4)


def test_without_any_picture_the_first_is_named(folder: Path):
    with pytest.raises(UserError, match=r"none of 40 pictures can be used: first 0\.png: no such file"):
        fit(folder / "none")


def test_it_can_be_asked_to_end(folder: Path):
    with pytest.raises(Interrupted):
        fit_projection(Mixed(), folder, KEYS, WIDTH, lambda: True)


def test_the_sample_is_spread_over_all_pictures():
    many = [str(n) for n in range(10_000)]
    some = sample(many)
    assert len(some) == len(set(some)) == SAMPLE_PICTURES
    assert (some[0], some[-1]) == ("0", "9999")
    assert some == sample(many)
    assert sample(KEYS) == KEYS


# --- in the encoder --------------------------------------------------------------------------------------------------


def projection() -> Projection:
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((WIDTH, CHANNELS)).astype(np.float32)
    return Projection(weight, rng.standard_normal(WIDTH).astype(np.float32), 0.9)


def test_an_encoder_and_its_graph_make_narrow_maps(tmp_path: Path):
    encoder, wide = small_encoder(), small_encoder()
    projection().put_into(encoder)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    with torch.no_grad():
        expected = wide(torch.from_numpy(pictures)).numpy() @ projection().weight.T + projection().bias
        found = encoder(torch.from_numpy(pictures)).numpy()
    assert (encoder.channels, found.shape) == (WIDTH, (2, 16, WIDTH))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    export_encoder(encoder, tmp_path / "encoder.onnx")
    graph = open_session(tmp_path / "encoder.onnx", 1).run(["map"], {"picture": pictures})[0]
    np.testing.assert_allclose(graph, expected, atol=1e-5)


def test_a_narrow_encoder_is_another_encoder():
    encoder, other = small_encoder(), small_encoder()
    projection().put_into(encoder)
    projection().put_into(other)
    assert weights_fingerprint(encoder) == weights_fingerprint(other) != weights_fingerprint(small_encoder())
    with torch.no_grad():
        other.projection.bias[0] += 1
    assert weights_fingerprint(encoder) != weights_fingerprint(other)


# --- on disk ---------------------------------------------------------------------------------------------------------


def test_what_was_saved_is_loaded_to_the_last_bit(tmp_path: Path):
    path = tmp_path / "decision.safetensors"
    save_projection(path, projection(), FOR)
    decided, found = load_projection(path, FOR)
    assert decided
    np.testing.assert_array_equal(found.weight, projection().weight)
    np.testing.assert_array_equal(found.bias, projection().bias)
    assert found.kept == projection().kept
    assert list(tmp_path.iterdir()) == [path]


def test_that_maps_stay_as_they_are_is_a_decision_too(tmp_path: Path):
    save_projection(tmp_path / "decision", None, FOR)
    assert load_projection(tmp_path / "decision", FOR) == (True, None)


@pytest.mark.parametrize("change", ["for another", "gone", "damaged"])
def test_what_was_decided_for_something_else_does_not_count(tmp_path: Path, change: str):
    path = tmp_path / "decision"
    save_projection(path, projection(), FOR | {"pictures": 41} if change == "for another" else FOR)
    if change == "gone":
        path.unlink()
    elif change == "damaged":
        path.write_bytes(path.read_bytes()[:20])
    assert load_projection(path, FOR) == (False, None)
