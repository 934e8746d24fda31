from __future__ import annotations

from collections.abc import Iterator

import pytest

from ogiri.captioning.model.tokenizer import train_tokenizer
from tests.captioning.serving import tiny
from tests.contract import memorised as memory
from tests.contract.server import SERVE, Server, Starter
from tests.contract.training import Training


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    starter = Starter(tmp_path_factory)
    yield starter
    starter.stop()


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module that leave it as it was."""
    starter = Starter(tmp_path_factory)
    try:
        yield starter.echo()
    finally:
        starter.stop()


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of a caption model with random weights, likewise."""
    folder = tmp_path_factory.mktemp("opt_ml")
    tokenizer = train_tokenizer(["犬も歩けば棒に当たる。", "猫が「ごはん」と言った!", "a dog and a cat"] * 5, 400)
    tiny.write_artifact(folder / "model", tokenizer.model, tokenizer.vocabulary)
    starter = Starter(tmp_path_factory)
    try:
        server = starter(folder, program=SERVE)
        server.wait_for_ping(200)
        yield server
    finally:
        starter.stop()


@pytest.fixture(scope="session")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A trained model that knows its lines by heart, and nobody changes."""
    return memory.train(tmp_path_factory.mktemp("memorised"))
