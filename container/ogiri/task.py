"""The two interfaces a task implements, and the one table of tasks.

Hosting and training know no task: they see a `Predictor` or a `Trainer`, and the artifact (or the `task`
hyperparameter) decides which. The table holds names, not classes, so that serving never imports a trainer's torch.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

TASKS: Mapping[str, tuple[str, str]] = {
    # task: (module with `load(artifact) -> Predictor` and `DESCRIPTION`, module with `TRAINER: Trainer`)
    "caption": ("ogiri.captioning.serving.predictor", "ogiri.captioning.training.trainer"),
}


class RequestError(Exception):
    """A request that cannot be answered as it is.

    Attributes:
        code: short machine-readable word, `invalid_parameter` for example.
        status: the HTTP status that fits it (400, 413, 415, 503, 504).
    """

    def __init__(self, message: str, code: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class UserError(Exception):
    """Something the user can mend: the message names the thing, the value and the way out."""


class PlatformError(Exception):
    """AWS or the host failed: the same job, started again, may pass."""


class RankLost(PlatformError):
    """Another process of the same training does not answer: the cause lies with that one."""

    def __init__(self, said: str) -> None:
        """Args: said: by whatever noticed it."""
        super().__init__(f"lost contact with another rank: {said}")


# --- serving ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One part of a form (`multipart/form-data`).

    Attributes:
        name: of the field.
        data: the bytes.
        filename: None where the part is a plain field and no file.
    """

    name: str
    data: bytes
    filename: str | None = None


@dataclass(frozen=True)
class Body:
    """One request body as it came in, or one line of it (JSON lines are taken apart before).

    Attributes:
        content_type: media type in lower case without its parameters, `image/jpeg`.
        data: the bytes; none for a form.
        attributes: the decoded `name=value` pairs of X-Amzn-SageMaker-Custom-Attributes, unknown names included.
        parts: of a form, in their order.
        stream: the caller asked for a stream in Accept; a single request is then to be streamed, whatever it says.
    """

    content_type: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    stream: bool = False


@dataclass(frozen=True)
class Piece:
    """A part of the answer's text, whole characters only; pieces joined are the text of the answer."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A whole answer: what `application/json` carries, and what `text/plain` carries."""

    json: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Payload:
    """The requests found in one body, and how their answers become one.

    Attributes:
        requests: opaque to hosting, each is handed to `Predictor.submit`.
        stream: pieces are wanted as they come; there is one request then.
        assemble: the answers, in the order of `requests`, as one.
    """

    requests: tuple[Any, ...]
    assemble: Callable[[list[Answer]], Answer]
    stream: bool = False


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock."""

    at_seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining_seconds(self) -> float:
        """Seconds left, negative once it has passed."""
        return self.at_seconds - time.monotonic()


class Answering(Protocol):
    """A request under way: pieces, then the answer that ends it. A generator is one.

    `next` raises `RequestError` where the request fails, 504 once its deadline has passed for example.
    """

    def __iter__(self) -> Iterator[Piece | Answer]:
        """Itself."""

    def __next__(self) -> Piece | Answer:
        """Wait for what comes next."""

    def close(self) -> None:
        """Give up what is left of the work; nothing happens where nothing is left."""


class Predictor(Protocol):
    """A model that answers requests, loaded from an artifact folder."""

    name: str
    """What answers call the model."""
    content_types: tuple[str, ...]
    """The media types that `parse` takes. One that takes JSON is asked line by line for JSON lines."""
    parameters: type
    """A dataclass of `ogiri.parameter` fields: what a request may set."""

    def parse(self, body: Body) -> Payload:
        """Turn a body into requests; raises `RequestError`."""

    def submit(self, request: Any, deadline: Deadline, cancelled: Callable[[], bool]) -> Answering:
        """Begin to answer a request. The work begins with this call, so that several requests run side by side.

        It ends early when `cancelled()` turns true, and then has no answer, or when it is closed.
        """

    def warm_up(self) -> None:
        """Answer one made-up request, so that a first `/ping` of 200 means that the model works."""

    def memory_bytes(self) -> int:
        """Bytes of memory that this model needs."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True)
class Description:
    """What a task takes and gives, for its OpenAPI file. Schemas are JSON Schema.

    Attributes:
        content_types: the media types that its predictor takes.
        parameters: a dataclass of `ogiri.parameter` fields; schemas refer to it as `#/components/schemas/Parameters`.
        request: schema of a JSON request.
        form: what the properties of a form are where they differ from those of `request`.
        answer: schema of a JSON answer.
        max_instances: requests in one JSON body.
    """

    content_types: tuple[str, ...]
    parameters: type
    request: Mapping[str, Any]
    form: Mapping[str, Any]
    answer: Mapping[str, Any]
    max_instances: int


@runtime_checkable
class Measured(Protocol):
    """A predictor that counts what it does, for the metrics."""

    def statistics(self) -> Mapping[str, float]:
        """Counters that only grow, from 0 when the model was loaded: `steps`, the `tokens` they made, and others."""


@runtime_checkable
class Watched(Protocol):
    """A predictor that knows when its work stands still."""

    def stuck_seconds(self) -> float:
        """For how long no request under way has got any further; 0 where none is."""


def answer(predictor: Predictor, request: Any, deadline: Deadline, cancelled: Callable[[], bool]) -> Answer:
    """The whole answer to a request: what `drain` makes of `Predictor.submit`."""
    return drain(predictor.submit(request, deadline, cancelled))


def drain(under_way: Answering) -> Answer:
    """The answer that ends a request under way.

    Raises:
        RequestError: it failed, or ended without an answer (503) because it was cancelled.
    """
    last: Piece | Answer | None = None
    with contextlib.closing(under_way):
        for part in under_way:
            last = part
    if not isinstance(last, Answer):
        raise unanswered()
    return last


def unanswered() -> RequestError:
    """What a request meets that ends without an answer."""
    return RequestError("the request was cancelled before it was answered", "cancelled", 503)


# --- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingContext:
    """What a trainer is given.

    Attributes:
        hyperparameters: an instance of the trainer's own dataclass, already checked.
        channels: channel name → folder that exists (`training`, `pretrained`, `records`, `model`).
        model: the folder that becomes the artifact.
        output: `output/data`, for reports.
        checkpoints: a folder that survives a restart.
        job_name: name of the training job.
        stopping: turns true once SIGTERM has come: finish the step, export what is best so far, return.
        report_metrics: takes one event a call and prints it as `name=value;` pairs; only these names are metrics.
            `epoch`, where an event has one, is its step on every curve.
    """

    hyperparameters: Any
    channels: Mapping[str, Path]
    model: Path
    output: Path
    checkpoints: Path
    job_name: str
    stopping: Callable[[], bool]
    report_metrics: Callable[[Mapping[str, float]], None]


class Trainer(Protocol):
    """What trains one task."""

    hyperparameters: type
    """A dataclass of `ogiri.parameter` fields."""

    def run(self, context: TrainingContext) -> Path:
        """Train, and return the artifact folder (`context.model`).

        Raises:
            UserError: the user can mend it.
            PlatformError: AWS or the host failed. Anything else counts as a bug of ours.
        """


# --- the table -------------------------------------------------------------------------------------------------------


def load_predictor(task: str, artifact: Any) -> Predictor:
    """The predictor of a task for an opened `ogiri.artifact.Artifact`.

    Raises:
        ValueError: no such task.
    """
    return cast(Predictor, _module(task, 0).load(artifact))


def describe(task: str) -> Description:
    """What the predictors of a task take and give.

    Raises:
        ValueError: no such task.
    """
    return cast(Description, _module(task, 0).DESCRIPTION)


def load_trainer(task: str) -> Trainer:
    """The trainer of a task.

    Raises:
        ValueError: no such task.
        UserError: an image that only serves.
    """
    try:
        module = _module(task, 1)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        message = (
            "torch is not installed: an image built with REQUIREMENTS=serving only serves, train with one built without"
        )
        raise UserError(message) from error
    return cast(Trainer, module.TRAINER)


def _module(task: str, column: int) -> Any:
    if task not in TASKS:
        raise ValueError(f"task is {task!r}: this image knows {', '.join(sorted(TASKS))}")
    return importlib.import_module(TASKS[task][column])
