"""The model that this container hosts, from not loaded to ready."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ogiri.artifact import read_artifact, verify
from ogiri.task import Predictor, RequestError, load_predictor


class ModelHost:
    """Holds the predictor once it can answer.

    Args:
        read: reads the model; whatever it raises, `load` raises.
    """

    def __init__(self, read: Callable[[], Predictor]) -> None:
        self._read = read
        self._predictor: Predictor | None = None

    @property
    def ready(self) -> bool:
        """Whether a warm-up request has been answered."""
        return self._predictor is not None

    def load(self) -> None:
        """Read the model and warm it up. Takes long: call it beside the threads that answer."""
        predictor = self._read()
        predictor.warm_up()
        self._predictor = predictor

    def predictor(self) -> Predictor:
        """The predictor.

        Raises:
            RequestError: it is not ready (503).
        """
        if self._predictor is None:
            raise RequestError("the model is being loaded: try again later", "loading", 503)
        return self._predictor


def read_model(folder: Path) -> Predictor:
    """The predictor of the artifact in `folder`, whose files are verified while they are loaded.

    Raises:
        ArtifactError: what lies there is no artifact, or a damaged one.
        ValueError: this image does not know its task.
    """
    artifact = read_artifact(folder)
    with ThreadPoolExecutor(1, "verify") as pool:
        verified = pool.submit(verify, artifact)
        try:
            predictor = load_predictor(artifact.task, artifact)
        except Exception:
            verified.result()  # a damaged file explains what failed better than whoever stumbled over it
            raise
    if verified.exception() is not None:
        predictor.close()
    verified.result()
    return predictor
