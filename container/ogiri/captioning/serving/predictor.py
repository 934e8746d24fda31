"""What hosting sees of captioning: bodies in, captions out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ogiri.artifact import Artifact, ArtifactError
from ogiri.captioning.serving.captioner import Captioner, open_captioner
from ogiri.captioning.serving.line import Caption
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.request import MAX_INSTANCES, CaptionRequest, from_document, from_picture, read_json
from ogiri.captioning.serving.settings import Settings, read_settings
from ogiri.parameter import ParameterError
from ogiri.task import Answer, Body, Deadline, Payload, Piece, RequestError

JSON = "application/json"
PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "application/x-image")
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


class CaptionPredictor:
    """See `ogiri.task.Predictor`.

    Each request steps its own candidates in the thread that asks; graphs may run in several threads at a time.
    """

    content_types = (*PICTURES, JSON)
    parameters = Parameters

    def __init__(self, name: str, settings: Settings, captioner: Captioner) -> None:
        self.name = name
        self._settings = settings
        self._captioner: Captioner | None = captioner
        self._bytes = captioner.engine.memory_bytes()

    def parse(self, body: Body) -> Payload:
        """See `Predictor.parse`."""
        if body.content_type in PICTURES:
            return self._single(from_picture(body.data, body.attributes, self._settings.size, self._settings.defaults))
        if body.content_type == JSON:
            document = read_json(body.data)
            if isinstance(document, dict) and "instances" in document:
                return self._several(document)
            return self._single(from_document(document, self._settings.size, self._settings.defaults))
        known = ", ".join(self.content_types)
        raise RequestError(f"content type {body.content_type!r} is not one of {known}", "unsupported_media_type", 415)

    def submit(
        self, request: CaptionRequest, deadline: Deadline, cancelled: Callable[[], bool]
    ) -> Iterator[Piece | Answer]:
        """See `Predictor.submit`."""
        captioner = self._opened()
        _check(deadline)
        maps = captioner.engine.encode(request.rgb[None])
        conditions = captioner.conditions(request.labels, request.detected_text)
        (search,), steps = captioner.begin(maps, [conditions], [request.parameters])
        sent = ""
        for _ in steps:
            if cancelled():
                return
            _check(deadline)
            if len(search.settled) > len(sent):
                yield Piece(search.settled[len(sent) :])
                sent = search.settled
        captions = search.captions()
        if len(captions[0].text) > len(sent):
            yield Piece(captions[0].text[len(sent) :])
        yield self._answer(captions)

    def warm_up(self) -> None:
        """See `Predictor.warm_up`."""
        size = self._settings.size
        grey = np.full((size, size, 3), 128, np.uint8)
        request = CaptionRequest(grey, (), "", Parameters(num_candidates=2, seed=0))
        for _ in self.submit(request, Deadline.after(WARM_UP_SECONDS), lambda: False):
            pass

    def memory_bytes(self) -> int:
        """See `Predictor.memory_bytes`."""
        return self._bytes

    def close(self) -> None:
        """See `Predictor.close`; requests under way still finish."""
        self._captioner = None

    def _opened(self) -> Captioner:
        if self._captioner is None:
            raise RequestError(f"model {self.name} is closed", "model_closed", 503)
        return self._captioner

    def _single(self, request: CaptionRequest) -> Payload:
        self._fits(request)
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
