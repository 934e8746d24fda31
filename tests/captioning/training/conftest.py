import pytest

from tests.captioning.training.small import Job, hyperparameters


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that is done: `run` gives its model at once."""
    job = Job(tmp_path_factory.mktemp("job"), hyperparameters(decoder_width=64, epochs=25, dropout=0))
    job.run()
    return job
