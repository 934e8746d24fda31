"""Training that begins with what an earlier job left in the `model` channel."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ogiri.artifact import ArtifactError, open_artifact, pack, write_manifest
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.training import warm_start
from ogiri.captioning.training.trainer import TRAINER
from ogiri.captioning.training.warm_start import find_warm_start
from ogiri.task import UserError
from tests.captioning.training.tiny_job import NAME, context, small


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base folder of a job that has ended."""
    base = tmp_path_factory.mktemp("earlier")
    TRAINER.run(context(base, small()))
    return base


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": value
        for part in ("encoder", "decoder")
        for name, value in safetensors.torch.load_file(folder / f"{part}.safetensors").items()
    }


def packed(base: Path, channel: Path) -> Path:
    channel.mkdir()
    pack(base / "model", channel / "model.tar.gz")
    return channel


def without_weights(base: Path, folder: Path) -> Path:
    """The artifact as it is shipped without `export_weights`."""
    shutil.copytree(base / "model", folder, ignore=shutil.ignore_patterns("weights"))
    change_manifest(folder, lambda manifest: None)
    return folder


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    write_manifest(folder, {name: manifest[name] for name in manifest if name not in ("format_version", "files")})


# --- what is taken over ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "folder below", "archive", "archive and output", "output as a folder"])
def test_takes_weights_and_tokenizer_of_an_earlier_job(earlier: Path, tmp_path: Path, kind: str):
    channel = tmp_path / "channel"
    if kind == "folder":
        channel = earlier / "model"
    elif kind == "folder below":
        shutil.copytree(earlier / "model", channel / "job-1" / "artifact")
    elif kind == "archive":
        packed(earlier, channel)
    else:
        channel.mkdir()
        pack(without_weights(earlier, tmp_path / "shipped"), channel / "model.tar.gz")
        if kind == "output as a folder":
            shutil.copytree(earlier / "output" / "weights", channel / "data" / "weights")
        else:
            pack(earlier / "output", channel / "output.tar.gz")
    (channel / "model.tar.gz.sagemaker-uploaded").write_bytes(b"")
    start = find_warm_start({"model": channel}, small())
    assert start is not None
    found = {f"{part}.{n}": v for part in ("encoder", "decoder") for n, v in getattr(start, part).items()}
    expected = weights(earlier / "model" / "weights")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert start.tokenizer.model == (earlier / "model" / "tokenizer.model").read_bytes()


def test_training_goes_on_from_them(earlier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    hp = small(learning_rate=1e-12, average_decay=0, weight_decay=0, seed=3)
    job = context(tmp_path / "later", hp, model=earlier / "model")
    TRAINER.run(job)
    after, before = weights(job.model / "weights"), weights(earlier / "model" / "weights")
    learned = [name for name in before if before[name].is_floating_point() and "running_" not in name]
    assert len(learned) > 50
    for name in learned:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)
    assert (job.model / "tokenizer.model").read_bytes() == (earlier / "model" / "tokenizer.model").read_bytes()
    assert f"starting from the artifact {earlier.name}: decoder, encoder and a tokenizer of " in caplog.text


def test_pretrained_weights_are_not_needed_beside_those_of_the_artifact(earlier: Path, tmp_path: Path):
    job = context(tmp_path / "later", small(encoder_weights="pretrained"), model=earlier / "model")
    TRAINER.run(job)
    after, before = weights(job.model / "weights"), weights(earlier / "model" / "weights")
    assert all(torch.equal(after[name], value) for name, value in before.items() if name.startswith("encoder."))
    assert not all(torch.equal(after[name], value) for name, value in before.items() if name.startswith("decoder."))


def test_a_job_that_starts_elsewhere_has_another_fingerprint(earlier: Path):
    start = find_warm_start({"model": earlier / "model"}, small())
    assert start is not None
    name, value = next(iter(start.decoder.items()))
    other = dataclasses.replace(start, decoder={**start.decoder, name: value + 1})
    assert start.fingerprint() != other.fingerprint()
    assert start.fingerprint() == dataclasses.replace(start, name="another name").fingerprint()


def test_a_gpt2_is_started_from_too(tmp_path: Path):
    hp = small(decoder="gpt2", decoder_width=64, decoder_layers=1, max_length=20)
    first = context(tmp_path / "first", hp)
    TRAINER.run(first)
    still = dataclasses.replace(hp, learning_rate=1e-12, average_decay=0, weight_decay=0)
    second = context(tmp_path / "second", still, model=first.model)
    TRAINER.run(second)
    after, before = weights(second.model / "weights"), weights(first.model / "weights")
    for name in (name for name in before if name.startswith("decoder.")):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)
    with pytest.raises(UserError, match=r"max_length is 30, and the artifact first .* was trained with 20"):
        find_warm_start({"model": first.model}, dataclasses.replace(hp, max_length=30))


def test_without_the_channel_nothing_is_started_from():
    assert find_warm_start({}, small()) is None


# --- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"encoder": "resnet18"},
            f"encoder is resnet18, and the artifact .* was trained with {NAME}: set encoder={NAME}",
        ),
        ({"image_size": 96}, "image_size is 96, and the artifact .* was trained with 64: set image_size=64, or leave"),
        ({"decoder": "gpt2", "decoder_width": 64}, "decoder is gpt2, and the artifact .* was trained with lstm"),
        ({"decoder_width": 64}, "decoder_width is 64, and the artifact .* was trained with 32: set decoder_width=32"),
        ({"decoder_layers": 2}, "decoder_layers is 2, and the artifact .* was trained with 1"),
    ],
)
def test_what_the_hyperparameters_say_otherwise_names_both_values(earlier: Path, values: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        find_warm_start({"model": earlier / "model"}, small(**values))


def test_other_dimensions_of_the_decoder_name_both_values(earlier: Path):
    start = find_warm_start({"model": earlier / "model"}, small())
    assert start is not None
    other = dataclasses.replace(start, dimensions={**start.dimensions, "buckets": 99})
    decoder = LSTMDecoder(LSTMDimensions(**start.dimensions))
    with pytest.raises(UserError, match=r"has buckets \d+, and the one of the artifact .* has 99: give the"):
        other.fill_decoder(decoder)
    start.fill_decoder(decoder)
    assert all(torch.equal(value, start.decoder[name]) for name, value in decoder.state_dict().items())


def test_weights_of_another_network_are_refused(earlier: Path):
    start = find_warm_start({"model": earlier / "model"}, small())
    assert start is not None
    with pytest.raises(UserError, match=r"the encoder of the artifact .* has nothing for trunk"):
        start.fill_encoder(Encoder("resnet18", 64))


def test_an_artifact_without_weights_names_the_ways_out(earlier: Path, tmp_path: Path):
    folder = without_weights(earlier, tmp_path / "shipped")
    with pytest.raises(UserError, match=r"carries no weights to train on: put the output\.tar\.gz .*export_weights=tr"):
        find_warm_start({"model": folder}, small())


def test_an_encoder_to_be_trained_needs_its_weights(earlier: Path, tmp_path: Path):
    folder = without_weights(earlier, tmp_path / "shipped")
    (folder / "data" / "weights").mkdir(parents=True)
    shutil.copy(earlier / "model" / "weights" / "decoder.safetensors", folder / "data" / "weights")
    with pytest.raises(UserError, match=r"without weights of its encoder, .* encoder_weights is none: set it to pre"):
        find_warm_start({"model": folder}, small())
    start = find_warm_start({"model": folder}, small(encoder_weights="pretrained"))
    assert start is not None
    assert start.encoder is None


def test_a_channel_without_an_artifact_and_one_with_two(earlier: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"the `model` channel .*empty holds no artifact, neither manifest\.json nor"):
        find_warm_start({"model": tmp_path / "empty"}, small())
    for name in ("one", "two"):
        shutil.copytree(earlier / "model", tmp_path / "both" / name)
    with pytest.raises(UserError, match="holds several artifacts: let it hold one"):
        find_warm_start({"model": tmp_path / "both"}, small())


def test_an_artifact_of_another_task_is_refused(earlier: Path, tmp_path: Path):
    shutil.copytree(earlier / "model", tmp_path / "model")
    change_manifest(tmp_path / "model", lambda manifest: manifest.update(task="translate"))
    with pytest.raises(UserError, match="is of the task translate, and task is caption"):
        find_warm_start({"model": tmp_path / "model"}, small())


def test_a_damaged_artifact_is_refused(earlier: Path, tmp_path: Path):
    shutil.copytree(earlier / "model", tmp_path / "model")
    path = tmp_path / "model" / "weights" / "decoder.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ArtifactError, match=r"decoder\.safetensors has SHA-256"):
        find_warm_start({"model": tmp_path / "model"}, small())
    channel = packed(earlier, tmp_path / "channel")
    whole = (channel / "model.tar.gz").read_bytes()
    (channel / "model.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"model\.tar\.gz cannot be read \("):
        find_warm_start({"model": channel}, small())


@pytest.mark.parametrize("kind", ["path", "link"])
def test_an_archive_that_reaches_out_of_its_folder_is_refused(earlier: Path, tmp_path: Path, kind: str):
    channel = tmp_path / "channel"
    channel.mkdir()
    with tarfile.open(channel / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../proof" if kind == "path" else "link")
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(member, io.BytesIO())
    with pytest.raises(ArtifactError, match="is a link or a device, or leaves the folder"):
        find_warm_start({"model": channel}, small())
    assert not (tmp_path / "proof").exists()


def test_an_archive_that_would_fill_the_disk_is_refused(earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    channel = packed(earlier, tmp_path / "channel")
    monkeypatch.setattr(warm_start, "MAX_BYTES", 100_000)
    with pytest.raises(UserError, match=r"model\.tar\.gz unpacks to more than 0\.0001 GB: it is no artifact"):
        find_warm_start({"model": channel}, small())


def test_the_artifact_of_a_warm_start_is_whole(earlier: Path, tmp_path: Path):
    job = context(tmp_path / "later", small(export_weights=False), model=earlier / "model")
    TRAINER.run(job)
    assert open_artifact(job.model).task == "caption"
