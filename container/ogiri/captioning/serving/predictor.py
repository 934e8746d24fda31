"""What hosting sees of captioning: bodies in, captions out."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ogiri.artifact import Artifact, ArtifactError
from ogiri.captioning.serving.batcher import Batcher, Ticket
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.request import CaptionRequest, from_document, from_form, from_picture, read_json
from ogiri.captioning.serving.schema import DESCRIPTION, FORM, JSON, MAX_INSTANCES, PICTURES
from ogiri.captioning.serving.settings import Settings, read_settings
from ogiri.parameter import ParameterError
from ogiri.task import Answer, Body, Deadline, Payload, Piece, RequestError

LOOK_SECONDS = 0.05  # how often a request that waits looks whether its caller is still there
WARM_UP_CHARACTERS = 2  # a whole line would keep a large model from being ready for a second
WARM_UP_SECONDS = 600.0  # a slow machine may take long over a first picture; hosting says 503 until then


def load(artifact: Artifact) -> CaptionPredictor:
    """The predictor of a caption artifact.

    Raises:
        ArtifactError: the manifest or a graph is not as docs/architecture.md says; the message names it.
    """
    try:
        settings = read_settings(artifact.manifest)
        for name in settings.files:
            artifact.path(name)  # the manifest lists it, so it has been verified
        captioner = open_captioner(artifact.folder, artifact.manifest)
    except ArtifactError:
        raise
    except ValueError as error:
        raise ArtifactError(f"{artifact.folder} is no caption artifact that can be served: {error}") from error
    return CaptionPredictor(artifact.name, settings, captioner)


class Answering:
    """See `ogiri.task.Answering`."""

    def __init__(
        self,
        ticket: Ticket,
        deadline: Deadline,
        cancelled: Callable[[], bool],
        answer: Callable[[list[Caption]], Answer],
    ) -> None:
        self._ticket, self._deadline, self._cancelled, self._answer = ticket, deadline, cancelled, answer
        self._sent = ""
        self._last: Answer | None = None
        self._over = False

    def __iter__(self) -> Iterator[Piece | Answer]:
        """Itself."""
        return self

    def __next__(self) -> Piece | Answer:
        """A piece, or the answer once all is written."""
        while not (self._over or self._cancelled()):
            try:
                return self._next()
            except queue.Empty:
                continue
        self.close()
        raise StopIteration

    def close(self) -> None:
        """See `ogiri.task.Answering.close`."""
        self._over = True
        self._ticket.give_up()

    def _next(self) -> Piece | Answer:
        if self._last is not None:
            self._over = True
            return self._last
        try:
            _check(self._deadline)
            settled = self._ticket.wait(min(LOOK_SECONDS, max(0.0, self._deadline.remaining_seconds())))
        except queue.Empty:
            raise
        except Exception:
            self.close()
            raise
        if settled is None:
            captions = self._ticket.writing.search.captions()
            settled, self._last = captions[0].text, self._answer(captions)
        piece, self._sent = settled[len(self._sent) :], settled
        return Piece(piece) if piece else self._next()


class CaptionPredictor:
    """See `ogiri.task.Predictor`.

    A picture is read and encoded in the thread that asks; one thread of its own writes the lines of all requests.
    """

    content_types = DESCRIPTION.content_types
    parameters = DESCRIPTION.parameters

    def __init__(self, name: str, settings: Settings, captioner: Captioner) -> None:
        self.name = name
        self._settings = settings
        self._captioner: Captioner | None = captioner
        self._bytes = captioner.engine.memory_bytes()
        self._batcher = Batcher(captioner.decoding)

    def parse(self, body: Body) -> Payload:
        """See `Predictor.parse`."""
        if body.content_type in PICTURES:
            size, defaults = self._settings.size, self._settings.defaults
            return self._single(from_picture(body.data, body.attributes, size, defaults), body.stream)
        if body.content_type == FORM:
            size, defaults = self._settings.size, self._settings.defaults
            return self._single(from_form(body.parts, body.attributes, size, defaults), body.stream)
        if body.content_type == JSON:
            document = read_json(body.data)
            if isinstance(document, dict) and "instances" in document:
                return self._several(document)
            return self._single(from_document(document, self._settings.size, self._settings.defaults), body.stream)
        known = ", ".join(self.content_types)
        raise RequestError(f"content type {body.content_type!r} is not one of {known}", "unsupported_media_type", 415)

    def submit(self, request: CaptionRequest, deadline: Deadline, cancelled: Callable[[], bool]) -> Answering:
        """See `Predictor.submit`. The picture is encoded before this returns; another thread writes its lines."""
        return self._submitted(request, deadline, cancelled)

    def _submitted(
        self, request: CaptionRequest, deadline: Deadline, cancelled: Callable[[], bool], *, keep_memory: bool = True
    ) -> Answering:
        captioner = self._opened()
        _check(deadline)
        maps = captioner.engine.encode(request.rgb[None], keep_memory=keep_memory)
        conditions = captioner.conditions(request.labels, request.detected_text)
        ticket = Ticket(captioner.writing(maps, conditions, request.parameters), request.parameters.stream)
        try:
            self._batcher.submit(ticket)
        except RuntimeError as error:
            raise self._closed() from error
        return Answering(ticket, deadline, cancelled, self._answer)

    def warm_up(self) -> None:
        """See `Predictor.warm_up`."""
        size = self._settings.size
        grey = np.full((size, size, 3), 128, np.uint8)
        request = CaptionRequest(grey, (), "", Parameters(seed=0, max_length=WARM_UP_CHARACTERS))
        for _ in self._submitted(request, Deadline.after(WARM_UP_SECONDS), lambda: False, keep_memory=False):
            pass
        self._batcher.rest()

    def memory_bytes(self) -> int:
        """See `Predictor.memory_bytes`."""
        return self._bytes

    def close(self) -> None:
        """See `Predictor.close`; returns once the requests under way have finished."""
        self._captioner = None
        self._batcher.close()

    def statistics(self) -> dict[str, int]:
        """Counters since the start: `steps` of the decoder, `tokens` that it took, `pictures` that are over."""
        return self._batcher.statistics()

    def stuck_seconds(self) -> float:
        """See `ogiri.task.Watched`."""
        return self._batcher.stuck_seconds()

    def _opened(self) -> Captioner:
        if self._captioner is None:
            raise self._closed()
        return self._captioner

    def _closed(self) -> RequestError:
        return RequestError(f"model {self.name} is closed", "model_closed", 503)

    def _single(self, request: CaptionRequest, stream: bool) -> Payload:
        self._fits(request)
        if stream:
            request = replace(request, parameters=replace(request.parameters, stream=True))
        return Payload((request,), lambda answers: answers[0], request.parameters.stream)

    def _several(self, document: dict[str, Any]) -> Payload:
        instances = document["instances"]
        if len(document) > 1:
            other = next(name for name in document if name != "instances")
            raise RequestError(f"{other} stands beside instances: put it into each of them")
        if not isinstance(instances, list) or not 1 <= len(instances) <= MAX_INSTANCES:
            raise RequestError(f"instances must be a list of 1 to {MAX_INSTANCES} requests")
        return Payload(tuple(self._member(index, member) for index, member in enumerate(instances)), _predictions)

    def _member(self, index: int, member: Any) -> CaptionRequest:
        try:
            request = from_document(member, self._settings.size, self._settings.defaults)
            self._fits(request)
        except RequestError as error:
            raise RequestError(f"instances[{index}]: {error}", error.code) from error
        if request.parameters.stream:
            message = f"instances[{index}]: stream is true: only a single request can be streamed"
            raise RequestError(message, "invalid_parameter")
        return request

    def _fits(self, request: CaptionRequest) -> None:
        try:
            self._opened().check(request.parameters)
        except ParameterError as error:
            raise RequestError(str(error), "invalid_parameter") from error

    def _answer(self, captions: list[Caption]) -> Answer:
        lines = [{"text": caption.text, "score": caption.score} for caption in captions]
        return Answer({"captions": lines, "model": self.name}, captions[0].text)


def _predictions(answers: list[Answer]) -> Answer:
    return Answer({"predictions": [answer.json for answer in answers]}, "\n".join(answer.text for answer in answers))


def _check(deadline: Deadline) -> None:
    if deadline.remaining_seconds() <= 0:
        raise RequestError("the request took longer than it may", "deadline_exceeded", 504)
