"""An earlier model in the `model` channel, beside the new one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ogiri.artifact import pack
from ogiri.captioning.training.baseline import BASELINE, EXPORTED
from ogiri.captioning.training.trainer import TRAINER
from tests.captioning.training.tiny_job import context, small

FIGURE = "validation_nats_per_character"
HELD_OUT = {"validation_fraction": 0.4, "seed": 3}


def trained(base: Path, channel: Path | None = None, **values: object) -> dict[str, float]:
    """All that a job has reported, the last value of each; its model lies in `base`."""
    reported: dict[str, float] = {}

    def report(figures: Mapping[str, float]) -> None:
        reported.update(figures)

    channels = {} if channel is None else {"model": channel}
    TRAINER.run(replace(context(base, small(**{**HELD_OUT, **values}), **channels), report_metrics=report))
    return reported


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The channel with the archive of a job that has ended."""
    base = tmp_path_factory.mktemp("earlier")
    assert EXPORTED not in trained(base, epochs=2)
    channel = tmp_path_factory.mktemp("channel")
    pack(base / "model", channel / "model.tar.gz")
    return channel


def test_both_models_are_asked_about_the_same_lines(earlier: Path, tmp_path: Path):
    figures = trained(tmp_path, earlier, epochs=2, start_from_model=False)
    assert figures[EXPORTED] == pytest.approx(figures[BASELINE], rel=1e-3)  # the same job once more
    assert figures[EXPORTED] == pytest.approx(figures[FIGURE], rel=0.02)  # 8 bits, and pictures encoded anew
    saved = json.loads((tmp_path / "output" / "metrics.json").read_text(encoding="utf-8"))
    assert saved[BASELINE] == pytest.approx(figures[BASELINE])
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["metrics"][EXPORTED] == pytest.approx(figures[EXPORTED])


def test_both_run_on_the_cpu_whatever_a_server_would_take(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OGIRI_ENGINE", "gpu")
    assert BASELINE in trained(tmp_path, earlier, start_from_model=False)


def test_a_model_of_another_kind_is_compared_with_all_the_same(earlier: Path, tmp_path: Path):
    figures = trained(tmp_path, earlier, start_from_model=False, image_size=96, decoder="gpt2", decoder_width=64)
    assert figures[EXPORTED] != pytest.approx(figures[BASELINE], rel=1e-3)


def test_a_model_to_start_from_is_compared_with_too(earlier: Path, tmp_path: Path):
    figures = trained(tmp_path, earlier)
    assert figures[EXPORTED] < figures[BASELINE]


@pytest.mark.parametrize("content", [b"rubbish", None], ids=["damaged", "empty"])
def test_a_model_that_cannot_be_asked_does_not_cost_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
):
    channel = tmp_path / "channel"
    channel.mkdir()
    if content is not None:
        (channel / "model.tar.gz").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        figures = trained(tmp_path / "job", channel, start_from_model=False)
    assert FIGURE in figures
    assert EXPORTED not in figures
    assert "is not compared with" in caplog.text
    assert (tmp_path / "job" / "model" / "manifest.json").exists()


def test_a_job_that_is_asked_to_end_does_not_compare(earlier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    job = context(tmp_path, small(**HELD_OUT, start_from_model=False), model=earlier)
    with caplog.at_level(logging.INFO):
        TRAINER.run(replace(job, stopping=lambda: "evaluation: " in caplog.text))  # said when the comparison begins
    assert "asked to end: the model in the `model` channel is not compared with" in caplog.text
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text(encoding="utf-8"))
    assert EXPORTED not in manifest["metrics"]


def test_without_held_out_lines_there_is_nothing_to_compare(earlier: Path, tmp_path: Path):
    assert EXPORTED not in trained(tmp_path, earlier, validation_fraction=0.0, start_from_model=False)
