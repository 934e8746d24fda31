"""The whole way: what `train` was given is what `serve` answers, word for word."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import torch
from safetensors.torch import load_file

from ogiri.artifact import open_artifact
from tests.contract.memorised import GPT2, LABELS, PICTURES, TEXTS, train
from tests.contract.server import SERVE, Server, Starter
from tests.contract.training import Row, Training, drawn

GREEDY = {"temperature": 0, "repetition_penalty": 1}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module", params=["lstm", "gpt2"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A model of each kind that knows its lines by heart."""
    if request.param == "gpt2":
        return train(tmp_path_factory.mktemp("gpt2"), GPT2)
    memorised: Training = request.getfixturevalue("memorised")
    return memorised


@pytest.fixture(scope="module")
def server(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    starter = Starter(tmp_path_factory)
    server = starter(trained.base, program=SERVE)
    server.wait_for_ping(200)
    yield server
    starter.stop()


def request(row: Row, **parameters: Any) -> dict[str, Any]:
    item = row.item()
    return {
        "image": base64.b64encode(drawn(row.seed)).decode(),
        "labels": item.get("Labels", []),
        "detected_text": item.get("DetectedText", ""),
        "parameters": parameters or GREEDY,
    }


def answers(server: Server, rows: Sequence[Row]) -> list[str]:
    reply = server.invoke({"instances": [request(row) for row in rows]})
    assert reply.status == 200, reply.body
    return [prediction["captions"][0]["text"] for prediction in reply.json()["predictions"]]


@pytest.mark.parametrize("rows", [PICTURES, LABELS, TEXTS], ids=["pictures", "labels", "texts"])
def test_every_line_comes_back_word_for_word(server: Server, rows: list[Row]):
    """Of pictures that differ; of one picture with different labels; of one picture with different texts in it."""
    assert answers(server, rows) == [row.line for row in rows]


def test_every_picture_alone_brings_its_line(server: Server):
    headers = {
        "Content-Type": "image/png",
        "Accept": "text/plain",
        "X-Amzn-SageMaker-Custom-Attributes": ",".join(f"{name}={quote(str(value))}" for name, value in GREEDY.items()),
    }
    for row in PICTURES:
        reply = server.request("POST", "/invocations", drawn(row.seed), headers)
        assert reply.body.decode() == row.line


def test_beam_search_finds_the_same_lines(server: Server):
    instances = [request(row, num_beams=3, repetition_penalty=1) for row in PICTURES]
    predictions = server.invoke({"instances": instances}).json()["predictions"]
    assert [prediction["captions"][0]["text"] for prediction in predictions] == [row.line for row in PICTURES]


def test_a_line_known_by_heart_is_sure(server: Server):
    (caption,) = server.invoke(request(PICTURES[0])).json()["captions"]
    assert -0.2 < caption["score"] <= 0


def test_a_seed_fixes_the_line_whatever_is_written_beside_it(server: Server):
    wild = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "max_length": 30}
    asked = request(PICTURES[0], **wild, seed=7, num_candidates=4)
    others = [request(row, **wild, seed=n) for n, row in enumerate([*PICTURES[1:5], *LABELS[:1], *TEXTS[:2]])]
    alone = server.invoke(asked).json()["captions"]
    assert len({caption["text"] for caption in alone}) > 1  # or there was nothing to draw
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            replies = list(pool.map(server.invoke, [*others[:3], asked, *others[3:]]))
            assert [reply.status for reply in replies] == [200] * 8
            assert replies[3].json()["captions"] == alone


def test_the_decoder_is_served_in_8_bits(trained: Training):
    manifest = open_artifact(trained.model).manifest
    assert manifest["quantization"]["decoder"] == "int8"
    assert manifest["decoding"]["decoder"] == trained.hyperparameters.get("decoder", "lstm")


def test_with_nothing_held_out_the_last_weights_are_shipped(trained: Training):
    checkpoint = torch.load(trained.base / "checkpoints" / "training.pt", weights_only=True)
    epochs = int(trained.hyperparameters["epochs"])
    assert (checkpoint["progress"]["epoch"], checkpoint["progress"]["best_epoch"]) == (epochs, 0)
    for part, weights in checkpoint["model"].items():
        shipped = load_file(trained.output / "weights" / f"{part}.safetensors")
        # Batch statistics are settled at the very end, maybe after the last checkpoint.
        learned = {name: value for name, value in weights.items() if not name.endswith(STATISTICS)}
        assert [name for name, value in learned.items() if not torch.equal(shipped[name], value)] == []
