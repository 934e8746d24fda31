"""The stages put together, in this process; tests/contract/test_train.py starts the real one."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from ogiri.artifact import open_artifact
from ogiri.captioning.data.pictures import Picture
from ogiri.captioning.model.conditioning import stack_conditions
from ogiri.captioning.model.encoder import build_network
from ogiri.captioning.serving.captioner import open_captioner
from ogiri.captioning.serving.settings import read_network, read_settings
from ogiri.captioning.serving.torch_engine import open_torch_engine
from ogiri.captioning.training import trainer
from ogiri.captioning.training.build import pick_device
from ogiri.captioning.training.fingerprint import job_fingerprint
from ogiri.captioning.training.ranks import Ranks
from ogiri.captioning.training.trainer import TRAINER, read_records
from ogiri.record import Label
from ogiri.task import TrainingContext, UserError
from tests.captioning.training.small import Job, hyperparameters, small_encoder, stop_after
from tests.contract.training import drawn

NAME = "mobilenet_v3_small"


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., TrainingContext]:
    """A context with ten pictures of two lines, and weights in the `pretrained` channel."""
    for name in ("training", "records", "pretrained", "model", "checkpoints"):
        (tmp_path / name).mkdir()
    rows = []
    for n in range(10):
        (tmp_path / "training" / f"{n}.png").write_bytes(drawn(n))
        rows += [{"ImageKey": f"{n}.png", "ExpectedResult": f"{'犬猫鳥'[n % 3]}が{n}回笑う{end}"} for end in "！？"]
    (tmp_path / "records" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    torch.manual_seed(3)
    safetensors.torch.save_file(build_network(NAME).state_dict(), tmp_path / "pretrained" / f"{NAME}.safetensors")

    def make(stopping: Callable[[], bool] = lambda: False, **values: Any) -> TrainingContext:
        small = {"encoder": NAME, "image_size": 64, "epochs": 1, **values}
        return TrainingContext(
            hyperparameters=hyperparameters(**small),
            channels={name: tmp_path / name for name in ("training", "records", "pretrained")},
            model=tmp_path / "model",
            output=tmp_path / "output",
            checkpoints=tmp_path / "checkpoints",
            job_name="job-7",
            stopping=stopping,
            report_metrics=lambda metrics: None,
        )

    return make


def test_a_frozen_encoder_is_shipped_as_it_came(job: Callable[..., TrainingContext], tmp_path: Path):
    context = job()
    assert TRAINER.run(context) == context.model
    open_artifact(context.model)
    assert [path.name for path in (context.output / "weights").iterdir()] == ["decoder.safetensors"]


def test_an_encoder_that_was_made_narrower_is_kept_for_jobs_that_go_on(job: Callable[..., TrainingContext]):
    context = job(feature_channels=20)
    TRAINER.run(context)
    weights = safetensors.torch.load_file(context.output / "weights" / "encoder.safetensors")
    assert weights["projection.weight"].shape == (20, 576)


@pytest.mark.parametrize("channels", [0, 20])
def test_exported_weights_compute_what_the_graphs_do(job: Callable[..., TrainingContext], channels: int):
    context = job(export_weights=True, quantize=False, feature_channels=channels)
    TRAINER.run(context)
    manifest = open_artifact(context.model).manifest
    graphs = open_captioner(context.model, manifest, threads=1)
    engine = open_torch_engine(context.model, read_settings(manifest), read_network(manifest), "cpu")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    maps = graphs.engine.encode(pictures)
    assert maps.shape[2] == (channels or 576)
    assert np.abs(engine.encode(pictures) - maps).max() < 1e-4
    known = stack_conditions([graphs.conditions([Label("犬", 90.0)], "")])
    found = [one.slab(10).prefill(0, one.known(maps[:1], known), 1) for one in (engine, graphs.engine)]
    assert np.abs(found[0] - found[1]).max() < 1e-4


def test_a_frozen_encoder_sees_variants_of_the_pictures(job: Callable[..., TrainingContext]):
    context = job(variants=2, epochs=1, mirror=True)
    TRAINER.run(context)
    files = sorted(context.checkpoints.glob("feature_maps*.sagemaker-ignore"))
    assert [file.name for file in files] == [
        f"feature_maps{number}.00000.sagemaker-ignore" for number in ("", ".1", ".2")
    ]
    rows = 10 * 4 * 576 * 2
    contents = [file.read_bytes()[:rows] for file in files]
    assert len({len(content) for content in contents}) == 1
    assert len(set(contents)) == 3


def test_the_last_stages_alone_can_be_trained_on(job: Callable[..., TrainingContext], tmp_path: Path):
    context = job(finetune_encoder=True, finetune_stages=2, variants=1, export_weights=True)
    TRAINER.run(context)
    kept = {file.name.split(".0")[0] for file in context.checkpoints.glob("*.00000.sagemaker-ignore")}
    assert kept == {"feature_maps", "feature_maps.1"}
    after = safetensors.torch.load_file(context.model / "weights" / "encoder.safetensors")
    before = safetensors.torch.load_file(tmp_path / "pretrained" / f"{NAME}.safetensors")
    changed = {
        n.removeprefix("trunk.") for n, v in after.items() if not torch.equal(v, before[n.removeprefix("trunk.")])
    }
    assert {".".join(name.split(".")[:2]) for name in changed} == {"features.11", "features.12"}


def test_pretrained_weights_can_be_trained_on(job: Callable[..., TrainingContext], tmp_path: Path):
    context = job(finetune_encoder=True, export_weights=True)
    TRAINER.run(context)
    files = open_artifact(context.model).manifest["files"]
    assert {"weights/encoder.safetensors", "weights/decoder.safetensors"} <= files.keys()
    before = safetensors.torch.load_file(tmp_path / "pretrained" / f"{NAME}.safetensors")
    after = safetensors.torch.load_file(context.model / "weights" / "encoder.safetensors")
    weights = {name.removeprefix("trunk."): value for name, value in after.items()}
    statistics = [name for name in weights if "running_" in name]
    assert len(statistics) > 50
    assert all(torch.equal(weights[name], before[name]) for name in statistics)
    moved = (weights["features.0.0.weight"] - before["features.0.0.weight"]).abs().max()
    assert 0 < moved < 0.01


@pytest.mark.parametrize("file", ["*.safetensors", "*.part.*"])
def test_asked_to_end_while_pictures_are_read_it_leaves_nothing(
    job: Callable[..., TrainingContext], tmp_path: Path, file: str
):
    context = job(lambda: any((tmp_path / "checkpoints").glob(file)))
    TRAINER.run(context)
    assert list(context.model.iterdir()) == []
    assert not any(context.checkpoints.glob("feature_maps.0*"))


def test_asked_to_end_later_it_leaves_an_artifact_that_was_not_evaluated(
    job: Callable[..., TrainingContext], tmp_path: Path
):
    trained = stop_after(2)  # before the first epoch, after the first step
    context = job(lambda: any((tmp_path / "checkpoints").glob("feature_maps.00000.sagemaker-ignore")) and trained())
    TRAINER.run(context)
    assert open_artifact(context.model).manifest["metrics"]["epochs"] == 0
    assert json.loads((context.output / "metrics.json").read_text())["free_running"] is None
    assert "- **not evaluated**: the job was asked to end early" in (context.model / "MODEL_CARD.md").read_text()
    assert "There is no line to look at" in (context.output / "report.html").read_text()


@pytest.mark.parametrize("looks", [1, 10_000])
def test_it_leaves_the_group_of_its_processes_however_early_it_ends(
    job: Callable[..., TrainingContext], monkeypatch: pytest.MonkeyPatch, looks: int
):
    left = []

    class Watched(Ranks):
        def leave(self) -> None:
            left.append(True)

    monkeypatch.setattr(trainer, "join", Watched)
    TRAINER.run(job(stop_after(looks)))
    assert left == [True]


def test_pictures_that_vanish_after_they_were_read_do_not_fail_the_export(
    job: Callable[..., TrainingContext], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def empty_channel(metrics: object) -> None:
        for path in (tmp_path / "training").iterdir():
            path.unlink()

    context = dataclasses.replace(job(), report_metrics=empty_channel)
    TRAINER.run(context)
    open_artifact(context.model)
    assert "cannot be read any more (" in caplog.text


def test_the_training_channel_is_needed(job: Callable[..., TrainingContext]):
    context = job()
    without = {name: folder for name, folder in context.channels.items() if name != "training"}
    with pytest.raises(UserError, match="there is no `training` channel"):
        read_records(dataclasses.replace(context, channels=without), context.hyperparameters)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_a_gpu_that_is_required_and_missing_is_named():
    with pytest.raises(UserError, match="require_gpu is true and no GPU is found"):
        pick_device(hyperparameters(require_gpu=True))


def test_a_checkpoint_belongs_to_hyperparameters_data_and_encoder(tmp_path: Path):
    encoder, hp, dataset = small_encoder(), hyperparameters(), Job(tmp_path, hyperparameters()).dataset
    labelled = Picture("00.png", (Label("Dog", 1.0),))
    relabelled = dataclasses.replace(dataset.train, pictures=[labelled, *dataset.train.pictures[1:]])
    other_weights = small_encoder()
    with torch.no_grad():
        next(other_weights.parameters()).add_(1)
    found = {
        job_fingerprint(hp, dataset, encoder),
        job_fingerprint(hyperparameters(seed=1), dataset, encoder),
        job_fingerprint(hp, dataclasses.replace(dataset, train=relabelled), encoder),
        job_fingerprint(hp, dataset, other_weights),
        job_fingerprint(hp, dataset, encoder, "of a language model's weights"),
    }
    assert len(found) == 5
    assert job_fingerprint(hp, Job(tmp_path, hp).dataset, small_encoder()) in found
    elsewhere = dataclasses.replace(hp, processes_per_host=2)  # a restarted job may have another number
    assert job_fingerprint(elsewhere, dataset, encoder) == job_fingerprint(hp, dataset, encoder)
