"""The engine for GPUs on the CPU: what ONNX Runtime computes, line by line, and when which of the two is taken."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from ogiri.artifact import ArtifactError, open_artifact, write_manifest
from ogiri.captioning.model.conditioning import ConditionLimits, Conditions, encode_conditions, stack_conditions
from ogiri.captioning.model.controls import control_array
from ogiri.captioning.model.encoder import Encoder
from ogiri.captioning.model.gpt2 import GPT2Decoder, GPT2Dimensions
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving import choice, torch_slab
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.serving.engine import Engine
from ogiri.captioning.serving.interface import CaptionEngine
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.predictor import load
from ogiri.captioning.serving.settings import DECODER_WEIGHTS, ENCODER_WEIGHTS, read_network, read_settings
from ogiri.captioning.serving.torch_engine import TorchEngine, open_torch_engine
from ogiri.captioning.serving.torch_gpt2 import RowGPT2
from ogiri.captioning.serving.torch_lstm import RowLSTM
from ogiri.captioning.training.export import export_decoder
from ogiri.captioning.training.publish import manifest_dimensions, save_weights, state_entries
from ogiri.record import Label
from tests.captioning.serving import tiny
from tests.captioning.serving.test_decoding import alone, assert_alike_alone_and_together, finish, lines, requests

LIMITS = ConditionLimits()
MAX_TOKENS = 20
CPU = torch.device("cpu")
BOS = 1
TOLERANCE = 1e-4
SLOTS = tiny.CELLS + LIMITS.max_labels + LIMITS.max_text_pieces + 2
ENCODER, SIZE = "squeezenet1_1", 64
NOTHING = Conditions(np.zeros((0, 0), int), np.zeros(0, int), np.zeros(0, int))
CONTAINER = Path(__file__).parents[3] / "container"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two engines of the same weights."""

    onnx: Engine
    torch: TorchEngine
    tokenizer: Tokenizer

    def conditions(self, labels: int = 0, text: int = 0, score: int | None = None) -> Conditions:
        known = encode_conditions(
            [Label("dog" * (1 + n % 3), 90.0) for n in range(labels)], "猫が歩く" * text, self.tokenizer, LIMITS
        )
        return dataclasses.replace(known, controls=control_array(score))

    def captioner(self, engine: CaptionEngine) -> Captioner:
        return Captioner(engine, self.tokenizer, LIMITS, MAX_TOKENS)


def lstm_decoder(vocabulary: int) -> LSTMDecoder:
    torch.manual_seed(0)
    dims = LSTMDimensions(vocabulary, tiny.CHANNELS, LIMITS.buckets, width=32, heads=4, layers=2)
    decoder = LSTMDecoder(dims).eval()
    with torch.no_grad():
        decoder.embedding.weight *= 10
        torch.nn.init.normal_(decoder.control.weight)
        torch.nn.init.normal_(decoder.bias)
    return decoder


def gpt2_decoder(vocabulary: int) -> GPT2Decoder:
    torch.manual_seed(0)
    dims = GPT2Dimensions(
        vocabulary, tiny.CHANNELS, LIMITS.buckets, positions=MAX_TOKENS + 1, width=32, heads=2, layers=2
    )
    decoder = GPT2Decoder(dims).eval()
    with torch.no_grad():
        decoder.transformer.wte.weight *= 30
    return decoder


@pytest.fixture(scope="module")
def pairs(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    made: dict[str, Pair] = {}

    def make(kind: str) -> Pair:
        if kind not in made:
            decoder = {"lstm": lstm_decoder, "gpt2": gpt2_decoder}[kind](tokenizer.vocabulary)
            path = tmp_path_factory.mktemp(kind) / "decoder.onnx"
            export_decoder(decoder, tiny.CHANNELS, path)
            rows = {"lstm": RowLSTM, "gpt2": RowGPT2}[kind](decoder.dims)
            rows.load_state_dict(decoder.state_dict())
            made[kind] = Pair(
                Engine(path, state_entries(decoder), threads=1),
                TorchEngine(rows, tiny.CHANNELS, SLOTS, MAX_TOKENS + 1, CPU),
                tokenizer,
            )
        return made[kind]

    return make


@pytest.fixture(params=["lstm", "gpt2"])
def pair(request: pytest.FixtureRequest, pairs: Callable[[str], Pair]) -> Pair:
    return pairs(request.param)


without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is found")
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is found")


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float32
    return float(np.abs(ours - theirs).max())


# --- the same as ONNX Runtime ----------------------------------------------------------------------------------------


def test_rows_of_any_prefix_and_step_get_the_logits_of_onnx_runtime(pair: Pair, maps: np.ndarray):
    slabs = [engine.slab(MAX_TOKENS + 1) for engine in (pair.torch, pair.onnx)]
    rng, spread = random.Random(0), []
    prefixes = [
        (maps[:1], pair.conditions()),
        (maps[1:2], pair.conditions(labels=3, text=1, score=2)),
        (None, pair.conditions()),
        (None, pair.conditions(text=4)),
        (maps[2:3, :2], pair.conditions(labels=10)),
        (maps[3:4], pair.conditions(labels=10, text=16, score=4)),
    ]
    for row, (picture, known) in enumerate(prefixes):
        stacked = stack_conditions([known])
        first = [
            slab.prefill(row, engine.known(picture, stacked), BOS)
            for slab, engine in zip(slabs, (pair.torch, pair.onnx), strict=True)
        ]
        assert difference(*first) < TOLERANCE
        spread.append(first[0][0])
        for _ in range(2):
            tokens = [rng.randrange(pair.tokenizer.vocabulary) for _ in range(row + 1)]
            assert difference(*(slab.step(tokens) for slab in slabs)) < TOLERANCE
    for one, other in itertools.pairwise(spread):
        assert np.abs(one - other).max() > 0.01  # or equal logits would show nothing


def test_copies_and_cuts_leave_the_logits_of_onnx_runtime(pair: Pair, maps: np.ndarray):
    slabs = [engine.slab(MAX_TOKENS + 1) for engine in (pair.torch, pair.onnx)]
    known = [stack_conditions([pair.conditions(labels=labels, text=labels % 3)]) for labels in range(5)]

    def begin(row: int, which: int) -> None:
        first = [
            slab.prefill(row, engine.known(maps[which : which + 1], known[which]), BOS)
            for slab, engine in zip(slabs, (pair.torch, pair.onnx), strict=True)
        ]
        assert difference(*first) < TOLERANCE

    def step() -> np.ndarray:
        assert slabs[0].rows == slabs[1].rows
        found = [slab.step([5 + 7 * row for row in range(slab.rows)]) for slab in slabs]
        assert difference(*found) < TOLERANCE
        return found[0]

    def both(method: str, *numbers: int) -> None:
        for slab in slabs:
            getattr(slab, method)(*numbers)

    begin(0, 0)
    step()
    begin(1, 4)
    both("copy", 0, 2)  # a further row
    assert slabs[0].rows == 3
    logits = step()
    assert np.abs(logits[0] - logits[2]).max() > 1e-3  # they took different tokens
    both("copy", 2, 1)  # over a line with a longer prefix
    step()
    both("cut", 2)
    step()
    begin(2, 3)
    begin(0, 2)  # in the place of a line that has ended
    step()
    both("cut", 0)
    assert slabs[0].rows == 0
    begin(0, 1)
    step()


def test_rows_that_begin_together_get_the_logits_of_onnx_runtime(pair: Pair, maps: np.ndarray):
    known = stack_conditions([pair.conditions(labels=n % 4, text=n % 2, score=n % 5) for n in range(8)])
    ours, our_state = pair.torch.prefill(maps, known, BOS)
    theirs, their_state = pair.onnx.prefill(maps, known, BOS)
    before = {name: array.copy() for name, array in our_state.items()}
    for step in range(4):
        assert difference(ours, theirs) < TOLERANCE
        tokens = theirs.argmax(1) if step % 2 else np.arange(8) * 3
        again, _ = pair.torch.step(tokens, our_state)
        ours, our_state = pair.torch.step(tokens, our_state)
        assert np.array_equal(again, ours)  # a state may be used again
        theirs, their_state = pair.onnx.step(tokens, their_state)
    assert before.keys() == our_state.keys()
    shared = [engine.prefill(maps[:1], known, BOS)[0] for engine in (pair.torch, pair.onnx)]  # one map for all
    assert difference(*shared) < TOLERANCE


def test_lines_are_those_of_onnx_runtime(pair: Pair, maps: np.ndarray):
    ours, theirs = pair.captioner(pair.torch), pair.captioner(pair.onnx)
    for one, other in zip(requests(ours, maps, 24), requests(theirs, maps, 24), strict=True):
        assert alone(ours, one) == alone(theirs, other)


# --- many lines side by side -----------------------------------------------------------------------------------------


def test_lines_are_what_they_are_alone_whatever_comes_and_goes(pair: Pair, maps: np.ndarray):
    assert_alike_alone_and_together(pair.captioner(pair.torch), maps)


def test_more_lines_than_there_is_room_for_wait(pair: Pair, maps: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    captioner = pair.captioner(pair.torch)
    makers = requests(captioner, maps, 24)
    expected = [alone(captioner, make) for make in makers]
    monkeypatch.setattr(torch_slab, "ROWS", 10)
    decoding, writings, rows = captioner.decoding(), [make() for make in makers], []
    for writing in writings:
        decoding.add(writing)
    while decoding.tasks:
        assert all(ended.error is None for ended in decoding.step())
        rows.append(decoding.rows)
    assert 8 <= max(rows) <= 10
    assert [lines(writing) for writing in writings] == expected


def test_a_row_gets_the_same_numbers_whatever_stands_beside_it(pair: Pair, maps: np.ndarray):
    def logits(beside: int) -> list[np.ndarray]:
        slab = pair.torch.slab(MAX_TOKENS + 1)
        for row in range(1 + beside):
            slab.prefill(row, pair.torch.known(maps[row][None], stack_conditions([pair.conditions(labels=row)])), BOS)
        return [slab.step([3] * (1 + beside))[0].copy() for _ in range(5)]

    for one, other in zip(logits(0), logits(6), strict=True):
        assert np.array_equal(one, other)


def test_a_step_writes_into_the_memory_that_is_there(pair: Pair, maps: np.ndarray):
    slab = pair.torch.slab(MAX_TOKENS + 1)
    assert slab._state == {}  # nothing before the first line
    slab.prefill(0, pair.torch.known(maps[:1], stack_conditions([pair.conditions()])), BOS)
    before = {name: (part.data_ptr(), part.shape) for name, part in slab._state.items()}
    for _ in range(MAX_TOKENS):
        slab.step([3])
    assert {name: (part.data_ptr(), part.shape) for name, part in slab._state.items()} == before


def test_what_a_gpu_would_not_survive_is_refused_before(pairs: Callable[[str], Pair], maps: np.ndarray):
    pair = pairs("gpt2")
    slab = pair.torch.slab(MAX_TOKENS + 1)
    known = pair.torch.known(maps[:1], stack_conditions([pair.conditions(labels=2)]))
    slab.prefill(0, known, BOS)
    for token in (-1, pair.tokenizer.vocabulary):
        with pytest.raises(ValueError, match=rf"tokens \[{token}\] is none of {pair.tokenizer.vocabulary}"):
            slab.step([token])
    for _ in range(MAX_TOKENS):
        slab.step([5])
    with pytest.raises(ValueError, match=f"more than {MAX_TOKENS + 1} tokens"):
        slab.step([5])
    with pytest.raises(ValueError, match=f"take {40 + 4} slots: there are {SLOTS}"):
        slab.prefill(0, {**known, "map": np.zeros((1, 40, tiny.CHANNELS), np.float32)}, BOS)


def test_an_error_of_one_task_ends_it_alone(pair: Pair, maps: np.ndarray):
    captioner = pair.captioner(pair.torch)
    known, how = captioner.conditions((), ""), Parameters(seed=1)
    good, bad = captioner.writing(maps[:1], known, how), captioner.writing(maps[:1, :, :2], known, how)
    decoding, ended = captioner.decoding(), []
    for writing in (good, bad):
        decoding.add(writing)
    while decoding.tasks:
        ended += decoding.step()
    assert [one.task for one in ended if one.error] == [bad]
    assert lines(good) == [c.tokens for c in captioner.caption(maps[:1], known, how)]


def test_bfloat16_gives_about_the_same(pair: Pair, maps: np.ndarray):
    decoder = type(pair.torch._decoder)(pair.torch._decoder.dims)
    decoder.load_state_dict(pair.torch._decoder.state_dict())
    decoder.place(CPU, torch.bfloat16)
    known = pair.torch.known(maps[:1], stack_conditions([pair.conditions(labels=3, text=2)]))
    slabs = [torch_slab.TorchSlab(decoder, CPU, torch.bfloat16, SLOTS, MAX_TOKENS + 1), pair.torch.slab(MAX_TOKENS + 1)]
    steps = [[slab.prefill(0, known, BOS)] for slab in slabs]
    for slab, of_slab in zip(slabs, steps, strict=True):
        of_slab += [slab.step([token]) for token in (5, 9, 200)]
    rounded, exact = (np.concatenate(of_slab) for of_slab in steps)
    assert 1e-4 < difference(rounded, exact) < 0.1 * np.abs(exact).max()
    assert not np.array_equal(rounded, torch.from_numpy(rounded).bfloat16().float().numpy())  # logits are not rounded


@with_gpu
def test_a_gpu_writes_lines_that_are_what_they_are_alone(pair: Pair, maps: np.ndarray):
    decoder = type(pair.torch._decoder)(pair.torch._decoder.dims)
    decoder.load_state_dict(pair.torch._decoder.state_dict())
    engine = TorchEngine(decoder, tiny.CHANNELS, SLOTS, MAX_TOKENS + 1, torch.device("cuda"))
    known = pair.torch.known(maps[:1], stack_conditions([pair.conditions(labels=3, text=2)]))
    slabs = [one.slab(MAX_TOKENS + 1) for one in (engine, pair.torch)]
    steps = [[slab.prefill(0, known, BOS)] for slab in slabs]
    for slab, of_slab in zip(slabs, steps, strict=True):
        of_slab += [slab.step([token]) for token in (5, 9, 200)]  # on the GPU by its CUDA graph
    rounded, exact = (np.concatenate(of_slab) for of_slab in steps)
    assert difference(rounded, exact) < 0.1 * np.abs(exact).max()
    captioner = pair.captioner(engine)
    makers = requests(captioner, maps, 40)
    expected = [alone(captioner, make) for make in makers]
    decoding, writings = captioner.decoding(), []
    for make in makers:
        writings.append(make())
        decoding.add(writings[-1])
        assert all(ended.error is None for ended in decoding.step())
    finish(decoding)
    assert [lines(writing) for writing in writings] == expected


# --- artifacts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(3)
    return Encoder(ENCODER, SIZE)


@pytest.fixture(scope="module")
def carrier(encoder: Encoder, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with its weights; its graphs are others, so that nobody can take one for the other."""
    folder = tmp_path_factory.mktemp("carrier")
    tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary)
    limits = read_settings(tiny.manifest(tokenizer.vocabulary)).limits
    torch.manual_seed(4)
    dims = LSTMDimensions(
        tokenizer.vocabulary,
        encoder.channels,
        limits.buckets,
        limits.max_label_pieces,
        limits.max_text_pieces,
        width=32,
        heads=4,
    )
    decoder = LSTMDecoder(dims)
    save_weights(folder / "weights", {"encoder": encoder, "decoder": decoder})
    manifest = tiny.manifest(tokenizer.vocabulary, dimensions=manifest_dimensions(decoder))
    manifest["preprocessing"] |= {"encoder": ENCODER, "size": SIZE}
    write_manifest(folder, manifest)
    return folder


def rewritten(source: Path, folder: Path, change: Callable[[dict[str, Any]], Any] = lambda fields: None) -> Path:
    """A copy of an artifact, or the same again, whose manifest was changed and describes its files as they are."""
    if folder != source:
        shutil.copytree(source, folder)
    manifest = json.loads((source / "manifest.json").read_text())
    fields = {name: value for name, value in manifest.items() if name not in ("files", "format_version")}
    change(fields)
    write_manifest(folder, fields)
    return folder


def opened(folder: Path) -> TorchEngine:
    manifest = open_artifact(folder).manifest
    return open_torch_engine(folder, read_settings(manifest), read_network(manifest), device="cpu")


def test_an_artifact_with_weights_opens_without_its_graphs(carrier: Path, encoder: Encoder, tokenizer: Tokenizer):
    engine = opened(carrier)
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    maps = engine.encode(pictures)
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(pictures)).numpy()
    assert difference(maps, expected) < TOLERANCE
    settings = read_settings(open_artifact(carrier).manifest)
    captioner = Captioner(engine, tokenizer, settings.limits, settings.max_tokens, settings.controls)
    known = captioner.conditions([Label("dog" * 9, 90.0)] * 9, "猫が歩く" * 9)  # as many as the limits let through
    found = captioner.captions(maps, [known] * 3, Parameters(seed=1, num_candidates=3))
    assert all(len(of_picture) == 3 and of_picture[0].text for of_picture in found)
    weights = sum((carrier / name).stat().st_size for name in (ENCODER_WEIGHTS, DECODER_WEIGHTS))
    assert 0.9 * weights < engine.memory_bytes() < 1.1 * weights


def test_a_gpt2_artifact_opens(carrier: Path, encoder: Encoder, tokenizer: Tokenizer, tmp_path: Path):
    limits = read_settings(open_artifact(carrier).manifest).limits
    sizes = (tokenizer.vocabulary, encoder.channels, limits.buckets, 25, limits.max_label_pieces)
    dims = GPT2Dimensions(*sizes, limits.max_text_pieces, width=32, heads=2, layers=1, inner=48)
    decoder = GPT2Decoder(dims)
    folder = rewritten(carrier, tmp_path / "model")
    save_weights(folder / "weights", {"decoder": decoder})

    def describe(fields: dict[str, Any]) -> None:
        fields["decoding"] |= {"decoder": "gpt2", "dimensions": manifest_dimensions(decoder)}

    engine = opened(rewritten(folder, folder, describe))
    assert engine.grows
    assert np.isfinite(engine.slab(25).prefill(0, engine.known(None, stack_conditions([NOTHING])), BOS)).all()
    with pytest.raises(ValueError, match=r"dimensions\.positions 25: lines of decoding\.max_tokens 25 need one more"):
        opened(rewritten(folder, folder, lambda fields: fields["decoding"].update(max_tokens=25)))


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("preprocessing", {"encoder": None}, r"preprocessing\.encoder None: it must be a string"),
        ("preprocessing", {"encoder": "resnet1"}, r"preprocessing\.encoder 'resnet1'.*torchvision has"),
        ("decoding", {"decoder": "rnn"}, r"decoding\.decoder 'rnn': it must be lstm or gpt2"),
        ("decoding", {"dimensions": None}, r"decoding\.dimensions None: it must be an object"),
        ("decoding", {"dimensions": {"width": "wide"}}, r"decoding\.dimensions\.width 'wide': it must be a number"),
        ("decoding", {"dimensions": {"depth": 3}}, r"decoding\.dimensions that make no lstm: .*depth"),
        ("preprocessing", {"max_text_pieces": 7}, r"max_text_pieces 6: the rest of it says 7"),
        ("preprocessing", {"confidence_edges": [5.0]}, r"buckets 4: the rest of it says 3"),
    ],
)
def test_a_manifest_that_does_not_fit_the_weights_is_named(
    carrier: Path, tmp_path: Path, section: str, change: dict[str, Any], message: str
):
    folder = rewritten(carrier, tmp_path / "model", lambda fields: fields[section].update(change))
    with pytest.raises(ValueError, match=message):
        opened(folder)


def spoiled(carrier: Path, folder: Path, name: str, spoil: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    shutil.copytree(carrier, folder)
    weights = safetensors.torch.load_file(folder / name)
    spoil(weights)
    safetensors.torch.save_file(weights, folder / name)
    return rewritten(folder, folder)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (DECODER_WEIGHTS, lambda w: w.update(bias=torch.zeros(3)), r"has shape \(3,\) for bias, .* shape \(\d{3},\)"),
        (DECODER_WEIGHTS, lambda w: w.pop("bias"), r"has nothing for bias, the manifest asks for shape"),
        (ENCODER_WEIGHTS, lambda w: w.update(more=torch.zeros(1)), r"has shape \(1,\) for more, .* asks for nothing"),
    ],
)
def test_weights_of_another_training_are_named(
    carrier: Path, tmp_path: Path, name: str, spoil: Callable[[dict[str, torch.Tensor]], Any], message: str
):
    with pytest.raises(ValueError, match=rf"{name} {message}.*: they are not of one training"):
        opened(spoiled(carrier, tmp_path / "model", name, spoil))


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path("exploded").write_text, ("!",)


def test_no_pickle_is_read(carrier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    shutil.copytree(carrier, folder)
    torch.save({"bias": Bomb()}, folder / DECODER_WEIGHTS)
    rewritten(folder, folder)
    with pytest.raises(ValueError, match=r"decoder\.safetensors cannot be read as weights"):
        opened(folder)
    assert not (tmp_path / "exploded").exists()


# --- the choice ------------------------------------------------------------------------------------------------------


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A program of that name on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.delenv(choice.VARIABLE, raising=False)

    def install(script: str) -> None:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nvidia-smi").chmod(0o755)

    return install


LISTED = 'test "$1" = -L && echo "GPU 0: NVIDIA A10G (UUID: GPU-1)"'


@without_gpu
def test_a_gpu_is_taken_where_one_is_listed_and_the_artifact_has_weights(
    nvidia_smi: Callable[[str], None], carrier: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    manifest = open_artifact(carrier).manifest
    assert choice.choose(manifest, {"PATH": "/nowhere"}) == "cpu"
    nvidia_smi(LISTED)
    with caplog.at_level(logging.INFO):
        assert choice.choose(manifest, {"PATH": str(Path(sys.prefix))}) == "cpu"
        with pytest.raises(ArtifactError, match=r"torch .* finds none that it can use: .* or set OGIRI_ENGINE=cpu"):
            load(open_artifact(carrier))
        monkeypatch.setenv(choice.VARIABLE, "cpu")
        predictor = load(open_artifact(carrier))
    assert isinstance(predictor._opened().engine, Engine)
    predictor.close()
    assert caplog.text == ""


@without_gpu
def test_a_gpu_that_is_asked_for_and_missing_is_named(
    carrier: Path, artifact_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(choice.VARIABLE, "gpu")
    with pytest.raises(ArtifactError, match=r"torch .* finds none that it can use: .* or set OGIRI_ENGINE=cpu"):
        load(open_artifact(carrier))
    with pytest.raises(
        ArtifactError, match=r"OGIRI_ENGINE is gpu and the artifact has no weights/.*export_weights=true"
    ):
        load(open_artifact(artifact_folder))


def test_an_unknown_engine_is_named(artifact_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(choice.VARIABLE, "tpu")
    with pytest.raises(ArtifactError, match=r"OGIRI_ENGINE is 'tpu': it must be auto, cpu or gpu"):
        load(open_artifact(artifact_folder))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (LISTED, r"CPU is used although there is a GPU \(GPU 0: NVIDIA A10G.*train with .*export_weights=true"),
        ("echo no driver; exit 9", r"CPU is used: nvidia-smi -L ends with 9: no driver"),
        ("echo No devices found.", None),
    ],
)
def test_the_log_says_why_the_cpu_is_used(
    nvidia_smi: Callable[[str], None],
    artifact_folder: Path,
    caplog: pytest.LogCaptureFixture,
    script: str,
    said: str | None,
):
    nvidia_smi(script)
    predictor = load(open_artifact(artifact_folder))
    assert isinstance(predictor._opened().engine, Engine)
    predictor.close()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (said is not None)
    if said is not None:
        assert re.search(said, messages[0])


def test_serving_on_a_cpu_loads_no_torch_although_the_artifact_has_weights(carrier: Path):
    code = (
        "import sys; from pathlib import Path; from ogiri.artifact import open_artifact;"
        "from ogiri.captioning.serving.predictor import load;"
        f"load(open_artifact(Path({str(carrier)!r}))).close();"
        "print({'torch', 'transformers', 'safetensors'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(CONTAINER), "PATH": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
