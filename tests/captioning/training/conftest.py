from collections.abc import Iterator

import pytest
import torch

from tests.captioning.training.small import Job, hyperparameters


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads of OpenMP on a busy machine wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that is done: `run` gives its model at once."""
    job = Job(tmp_path_factory.mktemp("job"), hyperparameters(decoder_width=64, epochs=25, dropout=0))
    job.run()
    return job
