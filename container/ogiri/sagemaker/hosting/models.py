"""The models of a multi-model endpoint: name → predictor, loaded and unloaded while others answer."""

from __future__ import annotations

import contextlib
import enum
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ogiri.artifact import Artifact, ArtifactError, open_artifact
from ogiri.machine import return_freed_memory
from ogiri.sagemaker.hosting.memory import MEGABYTE, ModelMemory, needed_bytes
from ogiri.task import Predictor, RequestError, load_predictor

TURN_SECONDS = 240
"""How long a load may wait for the one before it. SageMaker waits 360 s for a model to be loaded."""

logger = logging.getLogger(__name__)


class State(enum.Enum):
    """Where a model is in its life; one that is gone has no entry."""

    LOADING = "is being loaded"
    READY = "is loaded already"
    UNLOADING = "is being unloaded"


@dataclass(eq=False)
class Model:
    """An entry of the table.

    Attributes:
        name: what SageMaker calls it, any characters.
        url: the folder of its artifact.
        predictor: None before and after READY.
        memory_bytes: as its predictor says.
        running: requests that are being answered.
    """

    name: str
    url: str
    state: State = State.LOADING
    predictor: Predictor | None = None
    memory_bytes: int = 0
    running: int = 0


@dataclass(frozen=True)
class Lease:
    """A model that will not be unloaded before `release` is called, exactly once."""

    predictor: Predictor
    release: Callable[[], None]


class Models:
    """The table. May be used by several threads at a time; one model is loaded at a time.

    Args:
        memory: what models may take.
        load: makes the predictor of an artifact.
    """

    def __init__(self, memory: ModelMemory, load: Callable[[Artifact], Predictor] | None = None) -> None:
        self._memory = memory
        self._load_predictor = load or (lambda artifact: load_predictor(artifact.task, artifact))
        self._models: dict[str, Model] = {}
        self._changed = threading.Condition()  # holds the table's lock
        self._turn = threading.Lock()

    def load(self, name: str, url: str) -> Model:
        """Load a model and warm it up; returns when it can answer.

        Raises:
            RequestError: there is such a model (409), no such folder (404), no artifact that can be served in it (400),
                too little memory (507), or others are being loaded for too long (503).
        """
        folder = _folder(name, url)
        with self._entry(name, url) as model:
            if not self._turn.acquire(timeout=TURN_SECONDS):
                message = f"model {name!r} has waited {TURN_SECONDS} s while others were being loaded: try again later"
                raise RequestError(message, "loading", 503)
            try:
                predictor = self._read(name, folder)
            finally:
                return_freed_memory()
                self._turn.release()
            with self._changed:
                model.predictor, model.memory_bytes = predictor, predictor.memory_bytes()
                model.state = State.READY
        fields = {"model": name, "memory_bytes": model.memory_bytes}
        logger.info("model %s is loaded from %s", name, url, extra={"fields": fields})
        return model

    def unload(self, name: str, seconds: float) -> Model:
        """Take a model out; returns when its memory is free. New requests are refused from the first moment on.

        Args:
            name: of the model.
            seconds: how long requests that are being answered are waited for.

        Raises:
            RequestError: there is no such model (404), it is being loaded (409), or requests were still being answered
                after `seconds` (504): it is gone, but they keep its memory until they end.
        """
        with self._changed:
            if (model := self._models.get(name)) is not None and model.state is State.LOADING:
                raise _conflict(model)
            model = self._ready(name)
            model.state = State.UNLOADING
            idle = self._changed.wait_for(lambda: model.running == 0, seconds)
        try:
            self._close(model)
        finally:
            self._remove(model)
        if not idle:
            message = f"model {name!r} is unloaded, but its last requests still ran after {seconds:g} s and keep memory"
            raise RequestError(message, "deadline_exceeded", 504)
        logger.info("model %s is unloaded", name, extra={"fields": {"model": name}})
        return model

    def lease(self, name: str) -> Lease:
        """A model to answer a request with.

        Raises:
            RequestError: it is being loaded (503), or there is no such model (404).
        """
        with self._changed:
            if (model := self._models.get(name)) is not None and model.state is State.LOADING:
                raise RequestError(f"model {name!r} is being loaded: try again later", "loading", 503)
            model = self._ready(name)
            assert model.predictor is not None  # noqa: S101 - READY says so
            model.running += 1
            return Lease(model.predictor, partial(self._release, model))

    def get(self, name: str) -> Model:
        """The model of that name.

        Raises:
            RequestError: it is not loaded (404).
        """
        with self._changed:
            return self._ready(name)

    def page(self, after: str, size: int) -> list[Model]:
        """The first models by name that come after `after`, `size` at most."""
        with self._changed:
            ready = [model for model in self._models.values() if model.state is State.READY and model.name > after]
        return sorted(ready, key=lambda model: model.name)[:size]

    # --- loading

    @contextlib.contextmanager
    def _entry(self, name: str, url: str) -> Iterator[Model]:
        """A new entry, which is taken out again if the block fails."""
        with self._changed:
            if name in self._models:
                raise _conflict(self._models[name])
            model = self._models[name] = Model(name, url)
        try:
            yield model
        except BaseException:
            self._remove(model)
            raise

    def _read(self, name: str, folder: Path) -> Predictor:
        with _refusals(name):
            artifact = open_artifact(folder)
        free = self._free_bytes()
        if (needed := needed_bytes(artifact.manifest["files"])) > free:
            raise _short(name, needed, free)
        with _refusals(name):
            predictor = self._load_predictor(artifact)
        try:
            predictor.warm_up()
            if (needed := predictor.memory_bytes()) > free:
                raise _short(name, needed, free)
        except BaseException:
            predictor.close()
            raise
        return predictor

    def _free_bytes(self) -> int:
        with self._changed:
            taken = sum(model.memory_bytes for model in self._models.values())
        return self._memory.free_bytes(taken)

    # --- unloading

    def _close(self, model: Model) -> None:
        predictor, model.predictor = model.predictor, None
        if predictor is not None:
            predictor.close()
        del predictor
        return_freed_memory()

    def _release(self, model: Model) -> None:
        with self._changed:
            model.running -= 1
            self._changed.notify_all()

    def _remove(self, model: Model) -> None:
        with self._changed:
            del self._models[model.name]

    def _ready(self, name: str) -> Model:
        model = self._models.get(name)
        if model is None or model.state is not State.READY:
            raise RequestError(f"model {name!r} is not loaded: load it with POST /models", "model_not_found", 404)
        return model


def _folder(name: str, url: str) -> Path:
    folder = Path(url)
    if not folder.is_absolute():
        message = f"the url of model {name!r} is {url!r}: it must be the absolute path of a folder in this container"
        raise RequestError(message)
    if not folder.exists():
        raise RequestError(f"the url of model {name!r} is {url!r}: there is no such folder", "not_found", 404)
    return folder


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Say what is wrong with an artifact to the caller: it is the caller's."""
    try:
        yield
    except MemoryError as error:
        raise RequestError(f"model {name!r} does not fit into memory", "insufficient_memory", 507) from error
    except (ArtifactError, ValueError) as error:
        raise RequestError(f"model {name!r} cannot be served: {error}", "invalid_model") from error


def _conflict(model: Model) -> RequestError:
    return RequestError(f"model {model.name!r} {model.state.value}", "conflict", 409)


def _short(name: str, needed: int, free: int) -> RequestError:
    message = (
        f"model {name!r} needs {-(-needed // MEGABYTE)} MB of memory and {max(free, 0) // MEGABYTE} MB are free: "
        "unload other models, or take a larger instance"
    )
    return RequestError(message, "insufficient_memory", 507)
