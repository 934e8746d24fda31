from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import memorised as memory
from tests.contract.server import Server, Starter
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
    yield starter.echo()
    starter.stop()


@pytest.fixture(scope="session")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A trained model that knows its lines by heart, and nobody changes."""
    return memory.train(tmp_path_factory.mktemp("memorised"))
