"""A job with `decoder=gpt2`, from scratch and from a language model, up to the graphs and the artifact."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from ogiri.artifact import open_artifact
from ogiri.captioning.model.conditioning import Conditions, stack_conditions
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import build_network
from ogiri.captioning.model.gpt2 import GPT2Decoder
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.training import fit as fitting
from ogiri.captioning.training.build import build_model
from ogiri.captioning.training.dataset import build_dataset
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.language_model import LanguageModel, open_language_model
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.optimizer import build_optimizer, build_schedule
from ogiri.captioning.training.quality import decoder_difference
from ogiri.captioning.training.trainer import TRAINER
from ogiri.task import TrainingContext
from tests.captioning.training.published import LAYERS, WIDTH, write_language_model
from tests.captioning.training.small import Job, engine, every_node, hyperparameters, records, small_encoder, stop_after
from tests.contract.training import drawn

CPU = torch.device("cpu")
NAME = "ja"
ROWS = 8


def from_scratch(**values: Any) -> CaptionHyperparameters:
    return hyperparameters(**{"decoder": "gpt2", "decoder_width": 64, "decoder_layers": 2, "dropout": 0, **values})


def from_language_model(**values: Any) -> CaptionHyperparameters:
    own = {"decoder": "gpt2", "language_model": NAME, "decoder_width": 0, "vocabulary": 0, "max_length": 30}
    return hyperparameters(**{**own, "validation_fraction": 0, **values})


@dataclass
class GPT2Job(Job):
    """With the decoder that a real job builds."""

    pretrained: Path | None = None

    def __post_init__(self) -> None:
        self.language_model: LanguageModel | None = None
        if self.hp.language_model:
            self.language_model = open_language_model(self.hp, self.pretrained)
        tokenizer = self.language_model.tokenizer if self.language_model else None
        self.dataset = build_dataset(records(), self.arrays, self.hp, tokenizer)

    def model(self) -> Model:
        return build_model(self.hp, self.dataset, small_encoder(), self.language_model)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with a language model."""
    channel = tmp_path_factory.mktemp("pretrained")
    write_language_model(channel / NAME)
    return channel


def gpt2_of(model: Model) -> GPT2Decoder:
    assert isinstance(model.decoder, GPT2Decoder)
    return model.decoder


def changed(one: Model, other: Model) -> set[str]:
    """The weights of the decoder that are not the same, bit for bit."""
    others = other.decoder.state_dict()
    return {name for name, value in one.decoder.state_dict().items() if not torch.equal(value, others[name])}


# --- from scratch ----------------------------------------------------------------------------------------------------


def test_learns_more_than_which_tokens_are_frequent(tmp_path: Path):
    job = GPT2Job(tmp_path, from_scratch(epochs=20, validation_fraction=0, learning_rate=0.003))
    counts = np.unique(np.concatenate([[*line, -1] for line in job.dataset.train.examples.lines]), return_counts=True)
    shares = counts[1] / counts[1].sum()
    _, progress = job.run()
    losses = [epoch["train_loss"] for epoch in progress.history]
    assert losses[0] > -(shares * np.log(shares)).sum() > losses[-1] + 0.5


def test_sizes_are_those_of_the_decoder_unless_they_are_given(tmp_path: Path):
    small = gpt2_of(GPT2Job(tmp_path, from_scratch(max_length=50)).model()).dims
    assert (small.width, small.heads, small.layers, small.positions) == (64, 1, 2, 51)
    usual = gpt2_of(GPT2Job(tmp_path, from_scratch(decoder_width=0, decoder_layers=0)).model()).dims
    assert (usual.width, usual.heads, usual.layers) == (384, 6, 6)


@pytest.mark.parametrize(("dropout", "found"), [(0.5, 0.1), (0.0, 0.0)])
def test_a_fifth_of_the_dropout_is_in_every_layer(tmp_path: Path, dropout: float, found: float):
    config = gpt2_of(GPT2Job(tmp_path, from_scratch(dropout=dropout)).model()).transformer.config
    assert (config.embd_pdrop, config.resid_pdrop, config.attn_pdrop) == pytest.approx((found,) * 3)


# --- from a language model -------------------------------------------------------------------------------------------


def test_the_language_model_waits_until_the_mapper_has_learned(tmp_path: Path, pretrained: Path):
    job = GPT2Job(tmp_path, from_language_model(epochs=4, mapper_epochs=2), pretrained=pretrained)
    start = job.model()
    assert (gpt2_of(start).dims.width, gpt2_of(start).dims.layers) == (WIDTH, LAYERS)
    steps = math.ceil(len(job.dataset.train.examples) / job.hp.batch_size)
    at_boundary, progress = job.run(lambda: len(job.reported) == 2)
    assert progress.epoch == 2
    mapper = {name for name, _ in start.decoder.named_parameters() if not name.startswith("transformer.")}
    assert changed(at_boundary, start) == mapper
    assert not any(p.requires_grad or p.grad is not None for p in at_boundary.decoder.pretrained_parameters())
    whole, progress = job.run()
    assert progress.epoch == 4
    assert changed(whole, at_boundary) == {name for name, _ in start.decoder.named_parameters()}
    moved = (whole.decoder.transformer.wte.weight - start.decoder.transformer.wte.weight).abs().max()
    assert moved < 2 * steps * 0.02 * job.hp.learning_rate * 1.5


def test_a_language_model_may_stay_as_it_is(tmp_path: Path, pretrained: Path):
    job = GPT2Job(tmp_path, from_language_model(epochs=2, mapper_epochs=2), pretrained=pretrained)
    model, _ = job.run()
    assert not any(name.startswith("transformer.") for name in changed(model, job.model()))


@pytest.mark.parametrize("done", [1, 2, 3], ids=["first stage", "between them", "second stage"])
def test_a_restarted_job_ends_with_the_same_weights(
    tmp_path: Path, pretrained: Path, done: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY_SECONDS", 0.0)
    hp = from_language_model(epochs=4, mapper_epochs=2, validation_fraction=0.3, dropout=0.5)
    expected, whole = GPT2Job(tmp_path / "undisturbed", hp, pretrained=pretrained).run()
    job = GPT2Job(tmp_path / "restarted", hp, pretrained=pretrained)
    later = stop_after(3)
    _, early = job.run(lambda: len(job.reported) == done and later())
    assert early.epoch == done
    assert early.steps > done * whole.steps / 4
    torch.manual_seed(99)
    found, progress = job.run()
    assert progress.steps == whole.steps
    assert changed(found, expected) == set()


def test_each_stage_has_its_rates(tmp_path: Path, pretrained: Path):
    job = GPT2Job(tmp_path, from_language_model(), pretrained=pretrained)
    model = job.model()
    optimizer = build_optimizer(model, job.hp, CPU, 0.001)
    schedule, rates = build_schedule(optimizer, 30, 0.2, frozen_steps=10), []
    for _ in range(30):
        rates.append({id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]})
        optimizer.step()
        schedule.step()
    for name, parameter in model.decoder.named_parameters():
        found = [step[id(parameter)] for step in rates]
        learned = name.startswith("transformer.")
        peaks = (0.0, 2e-5) if learned else (3e-4, 1e-4)
        assert (max(found[:10]), max(found[10:])) == pytest.approx(peaks)
        for stage in (found[:10], found[10:]):
            peak = 2 if len(stage) == 10 else 4
            assert stage[:peak] == sorted(stage[:peak])
            assert stage[peak:] == sorted(stage[peak:], reverse=True)
    assert len(rates[0]) == len(list(model.decoder.parameters()))


def test_lines_that_the_language_model_cannot_write_are_counted(
    tmp_path: Path, pretrained: Path, caplog: pytest.LogCaptureFixture
):
    GPT2Job(tmp_path, from_language_model(), pretrained=pretrained)
    lossy = [line for line in records().lines if "逃" in line or "🍣" in line]
    (message,) = [text for text in caplog.messages if "has no token for" in text]
    assert message.startswith(f"{len(lossy)} of {len(records())} lines have characters")
    assert repr(lossy[0]) in message


# --- the graphs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["from scratch", "from a language model"])
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> GPT2Job:
    """A job that is done: `run` gives its model at once."""
    values = {"epochs": 10, "learning_rate": 0.003}
    hp = from_scratch(**values) if request.param == "from scratch" else from_language_model(**values)
    job = GPT2Job(tmp_path_factory.mktemp("job"), hp, pretrained=pretrained)
    job.run()
    return job


@pytest.fixture(scope="module")
def decoder(job: GPT2Job) -> Decoder:
    return job.run()[0].decoder


@pytest.fixture(scope="module")
def known(job: GPT2Job) -> tuple[np.ndarray, list[Conditions]]:
    """Maps and conditions of eight pictures; what is known of them differs in length."""
    examples = job.dataset.train.examples
    return examples.pictures[examples.rows[:ROWS]].astype(np.float32), list(examples.conditions[:ROWS])


@pytest.fixture(scope="module")
def quantized(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine(decoder, tmp_path_factory.mktemp("quantized"), quantized=True)


def test_the_graph_equals_torch_step_by_step(
    job: GPT2Job, decoder: Decoder, known: tuple[np.ndarray, list[Conditions]], tmp_path: Path
):
    lines = job.dataset.train.examples.lines[:ROWS]
    graph = engine(decoder, tmp_path)
    assert decoder_difference(decoder, graph, *known, lines, 1) <= 1e-5
    assert decoder_difference(decoder, graph, known[0][:, :0], known[1], lines, 1) <= 1e-5
    assert graph.grows


def test_the_embedding_is_there_once_and_rounded_with_all_large_weights(decoder: Decoder, tmp_path: Path):
    engine(decoder, tmp_path, quantized=True)
    for file, kind in (("float32.onnx", onnx.TensorProto.FLOAT), ("int8.onnx", onnx.TensorProto.UINT8)):
        graph = onnx.load(tmp_path / file).graph
        weights = {weight.name: weight for weight in graph.initializer}
        tables = [w for w in weights.values() if w.dims[:1] != w.dims[1:] and decoder.vocabulary in w.dims[:2]]
        assert [weight.data_type for weight in tables if math.prod(weight.dims) > 20 * decoder.vocabulary] == [kind]
    left = [
        node.name
        for node in every_node(graph)
        if node.op_type in ("MatMul", "Gemm") and weights.keys() & set(node.input)
    ]
    assert left == []
    assert len([node for node in every_node(graph) if node.op_type == "MatMulNBits"]) == 4 * decoder.dims.layers + 2


def test_a_quantised_row_is_alone_what_it_is_beside_seven_others(
    quantized: Engine, known: tuple[np.ndarray, list[Conditions]]
):
    def logits(maps: np.ndarray, conditions: list[Conditions]) -> np.ndarray:
        found, state = quantized.prefill(maps, stack_conditions(conditions), 1)
        steps = [found]
        for token in (5, 9, 7, 11):
            found, state = quantized.step(np.full(len(maps), token), state)
            steps.append(found)
        return np.stack(steps)

    maps, conditions = known
    together = logits(maps, conditions)
    for row in range(ROWS):
        alone = logits(maps[row : row + 1], conditions[row : row + 1])
        np.testing.assert_allclose(alone[:, 0], together[:, row], rtol=1e-5, atol=1e-5)


def test_lines_do_not_depend_on_what_is_written_beside_them(
    quantized: Engine, job: GPT2Job, known: tuple[np.ndarray, list[Conditions]]
):
    maps, conditions = known
    captioner = Captioner(quantized, job.dataset.tokenizer, job.dataset.limits, 20)
    for parameters in (Parameters(temperature=0), Parameters(seed=5, num_candidates=2), Parameters(num_beams=3)):
        together = captioner.captions(maps, conditions, parameters)
        alone = [captioner.caption(maps[row : row + 1], conditions[row], parameters) for row in range(ROWS)]
        assert [[c.tokens for c in captions] for captions in together] == [
            [c.tokens for c in captions] for captions in alone
        ]
        assert len({captions[0].text for captions in together}) > 1


# --- the whole job ---------------------------------------------------------------------------------------------------


def test_a_job_from_a_language_model_leaves_an_artifact_that_writes_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    channels = {name: tmp_path / name for name in ("training", "records", "pretrained")}
    for folder in (*channels.values(), tmp_path / "model", tmp_path / "checkpoints"):
        folder.mkdir()
    rows = []
    for n in range(10):
        (channels["training"] / f"{n}.png").write_bytes(drawn(n))
        rows += [{"ImageKey": f"{n}.png", "ExpectedResult": f"{'犬猫鳥'[n % 3]}と Dog が踊る{end}"} for end in "！？"]
    (channels["records"] / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    save_file(
        build_network("mobilenet_v3_small").state_dict(), channels["pretrained"] / "mobilenet_v3_small.safetensors"
    )
    write_language_model(channels["pretrained"] / NAME)
    context = TrainingContext(
        hyperparameters=from_language_model(
            encoder="mobilenet_v3_small", image_size=64, epochs=60, mapper_epochs=3, learning_rate=0.1
        ),
        channels=channels,
        model=tmp_path / "model",
        output=tmp_path / "output",
        checkpoints=tmp_path / "checkpoints",
        job_name="job-7",
        stopping=lambda: False,
        report_metrics=lambda metrics: None,
    )
    TRAINER.run(context)
    manifest = open_artifact(context.model).manifest
    assert manifest["decoding"]["decoder"] == "gpt2"
    assert manifest["tokenizer"]["lower_case"] is True
    captioner = open_captioner(context.model, manifest)
    names = [captioner.tokenizer.encode(name) for name in ("Dog", "dog")]
    assert names[0] == names[1]
    (caption,) = captioner.caption(None, captioner.conditions((), ""), Parameters(temperature=0, repetition_penalty=1))
    assert caption.text.endswith(("と dog が踊る!", "と dog が踊る?"))
    weights = load_file(context.output / "weights" / "decoder.safetensors")
    assert weights["transformer.wte.weight"].shape == (captioner.tokenizer.vocabulary, WIDTH)
