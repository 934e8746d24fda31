"""What the benchmark of killed jobs would notice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.training.job import Job
from benchmarks.training.kill import different


def left(base: Path, loss: float = 1.5, **files: bytes) -> Job:
    """A job that has ended and left these."""
    weights = base / "output" / "data" / "weights"
    weights.mkdir(parents=True)
    (base / "model").mkdir()
    for name, content in files.items():
        folder, _, rest = name.partition("_")
        (weights / f"{rest}.safetensors" if folder == "weights" else base / "model" / f"{rest}.onnx").write_bytes(
            content
        )
    history = [{"epoch": 1, "train_loss": loss, "epoch_seconds": id(base) % 1000}]
    (base / "output" / "data" / "metrics.json").write_text(json.dumps({"history": history}))
    return Job(base)


FILES = {"weights_decoder": b"weights", "model_decoder": b"graph"}


def test_the_same_files_and_figures_are_not_different(tmp_path: Path):
    assert different(left(tmp_path / "a", **FILES), left(tmp_path / "b", **FILES)) == []


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({**FILES, "weights_decoder": b"weighTs"}, ["decoder.safetensors"]),
        ({"weights_decoder": b"weights"}, ["decoder.onnx"]),
        ({**FILES, "model_encoder": b""}, ["encoder.onnx"]),
    ],
)
def test_a_byte_a_missing_file_and_one_too_many_are_noticed(tmp_path: Path, other: dict[str, bytes], names: list[str]):
    assert different(left(tmp_path / "a", **FILES), left(tmp_path / "b", **other)) == names


def test_another_figure_is_noticed(tmp_path: Path):
    assert different(left(tmp_path / "a", **FILES), left(tmp_path / "b", 1.6, **FILES)) == ["history"]
