"""The gate: a graph that differs from torch ends the job, and 8-bit weights that cost too much are not shipped."""

import copy
import json
import logging
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from ogiri.artifact import open_artifact
from ogiri.captioning.model.decoder import Decoder, Prefix
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.lstm import LSTMDecoder
from ogiri.captioning.serving.captioner import open_captioner
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.training import quality
from ogiri.captioning.training.publish import Described, publish_graphs, publish_manifest, save_weights
from tests.captioning.training.small import Job, gate_lines, small_encoder


@pytest.fixture
def encoder() -> Encoder:
    return small_encoder()


@pytest.fixture
def decoder(trained: Job) -> LSTMDecoder:
    return trained.run()[0].decoder


def publish(folder: Path, encoder: Encoder, decoder: Decoder, job: Job, quantize: bool = True) -> dict[str, Any]:
    return publish_graphs(folder, encoder, decoder, job.dataset.tokenizer, gate_lines(job.dataset), quantize)


def is_quantised(folder: Path) -> bool:
    return "MatMulNBits" in {node.op_type for node in onnx.load(folder / "decoder.onnx").graph.node}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


GRAPHS = ["decoder.onnx", "encoder.onnx", "tokenizer.model"]


def test_good_weights_are_shipped_in_8_bits(
    trained: Job, encoder: Encoder, decoder: Decoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    described = publish(tmp_path, encoder, decoder, trained)
    assert described["decoder"] == "int8"
    assert is_quantised(tmp_path)
    assert files(tmp_path) == GRAPHS
    nats = described["nats_per_token"]
    assert abs(nats["quantized"] - nats["float32"]) <= 0.01
    assert nats["lines"] == len(trained.dataset.train.examples)
    assert described["parity"].keys() == {"encoder", "decoder"}
    assert max(described["parity"].values()) <= 1e-4
    assert "nats a token over 32 lines: shipped" in caplog.text
    assert 0.95 <= described["top1_agreement"] <= 1
    agreed = f"the same favourite for {100 * described['top1_agreement']:.2f} % of the tokens of 32 lines"
    assert agreed in caplog.text
    sizes = described["bytes"]
    assert sizes["encoder"] == (tmp_path / "encoder.onnx").stat().st_size
    assert sizes["decoder_quantized"] == (tmp_path / "decoder.onnx").stat().st_size < sizes["decoder_float32"]


def spoil(decoder: LSTMDecoder) -> LSTMDecoder:
    """The same function in float32, but every block of 32 weights of the last layer has one that drowns the others.

    That one stands behind a feature which is always zero, because its output gate is shut.
    """
    spoiled = copy.deepcopy(decoder)
    width = spoiled.dims.width
    with torch.no_grad():
        for feature in range(0, width, 32):
            spoiled.words.weight_ih_l0[3 * width + feature] = 0
            spoiled.words.weight_hh_l0[3 * width + feature] = 0
            spoiled.words.bias_ih_l0[3 * width + feature] = -1e4
            spoiled.merge.weight[:, feature] = 100
    return spoiled


def test_weights_that_8_bits_would_spoil_are_shipped_in_float32(
    trained: Job, encoder: Encoder, decoder: LSTMDecoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    described = publish(tmp_path, encoder, spoil(decoder), trained)
    nats = described["nats_per_token"]
    assert nats["quantized"] - nats["float32"] > 0.1
    assert described["top1_agreement"] < 0.95
    assert described["decoder"] == "none"
    assert not is_quantised(tmp_path)
    assert files(tmp_path) == GRAPHS
    *costs, last = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [cost.split(" cost ")[0] for cost in costs] == [f"8-bit weights in blocks of {size}" for size in (64, 32)]
    assert all(cost.endswith(" nats a token, more than 0.01") for cost in costs)
    assert last.startswith("float32 is shipped")


def test_float32_where_that_is_asked_for(trained: Job, encoder: Encoder, decoder: Decoder, tmp_path: Path):
    described = publish(tmp_path, encoder, decoder, trained, quantize=False)
    assert (described["decoder"], described["nats_per_token"]) == ("none", {})
    assert "top1_agreement" not in described
    assert described["bytes"]["decoder_float32"] == (tmp_path / "decoder.onnx").stat().st_size
    assert not is_quantised(tmp_path)
    assert files(tmp_path) == GRAPHS


class OffInTraining(LSTMDecoder):
    """Training sees other logits than the steps that are exported."""

    def forward(self, prefix: Prefix, tokens: Tensor) -> Tensor:
        return super().forward(prefix, tokens) + 0.001


def test_a_decoder_graph_that_differs_from_training_ends_the_job(
    trained: Job, encoder: Encoder, decoder: LSTMDecoder, tmp_path: Path
):
    off = OffInTraining(decoder.dims)
    off.load_state_dict(decoder.state_dict())
    with pytest.raises(RuntimeError, match=r"the float32 decoder graph differs from torch by 1\.0e-03"):
        publish(tmp_path, encoder, off, trained)


class Growing(nn.Module):
    """Adds a little more at each call: what is exported is not what is computed later."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"map": self.inner(x)["map"] + 0.01 * self.calls}


def test_an_encoder_graph_that_differs_from_training_ends_the_job(
    trained: Job, encoder: Encoder, decoder: Decoder, tmp_path: Path
):
    encoder.trunk = Growing(encoder.trunk)
    with pytest.raises(RuntimeError, match=r"the float32 encoder graph differs from torch by "):
        publish(tmp_path, encoder, decoder, trained)


@pytest.mark.parametrize("rounding", [1e-6, 1e-2])
def test_an_encoder_graph_that_differs_by_rounding_alone_is_shipped(
    trained: Job,
    encoder: Encoder,
    decoder: Decoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rounding: float,
):
    monkeypatch.setattr(quality, "encoder_difference", lambda *_: 2e-4)
    monkeypatch.setattr(quality, "encoder_rounding", lambda *_: rounding)
    if rounding < 1e-5:
        with pytest.raises(RuntimeError, match=r"the float32 encoder graph differs from torch by 2\.0e-04"):
            publish(tmp_path, encoder, decoder, trained)
    else:
        assert publish(tmp_path, encoder, decoder, trained)["parity"]["encoder"] == 2e-4
    assert f"rounding to float32 is {rounding:.1e}" in caplog.text


def test_an_artifact_opens_and_writes_lines(trained: Job, encoder: Encoder, decoder: LSTMDecoder, tmp_path: Path):
    quantization, dataset = publish(tmp_path, encoder, decoder, trained), trained.dataset
    described = Described(
        job_name="job-7",
        size=32,
        limits=dataset.limits,
        controls=dataset.control_edges,
        tokenizer=dataset.tokenizer,
        decoder=decoder,
        decoder_name="lstm",
        max_tokens=20,
        quantization=quantization,
        encoder_name="resnet18",
    )
    publish_manifest(tmp_path, described, {"bleu": 1.0})
    artifact = open_artifact(tmp_path)
    assert artifact.task == "caption"
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(manifest["files"]) == set(GRAPHS)
    assert (manifest["name"], manifest["metrics"]) == ("job-7", {"bleu": 1.0})
    assert [entry["name"] for entry in manifest["decoding"]["state"]] == [s.name for s in decoder.state_specs]
    captioner = open_captioner(tmp_path, manifest)
    assert captioner.limits == dataset.limits
    pictures = gate_lines(dataset).pictures
    maps = captioner.engine.encode(pictures)
    captions = captioner.captions(maps, [captioner.conditions([], "")] * 2, Parameters(temperature=0))
    assert all(caption.text for (caption,) in captions)


def test_weights_for_going_on_are_safetensors(decoder: LSTMDecoder, tmp_path: Path):
    save_weights(tmp_path / "weights", {"decoder": decoder})
    saved = safetensors.torch.load_file(tmp_path / "weights" / "decoder.safetensors")
    assert saved.keys() == decoder.state_dict().keys()
    assert all(torch.equal(saved[name], value) for name, value in decoder.state_dict().items())
