"""Which media types a request brings and wants."""

from __future__ import annotations

from collections.abc import Sequence

from werkzeug.datastructures import MIMEAccept
from werkzeug.wrappers import Request

from ogiri.sagemaker.hosting.settings import EVENT_STREAM, JSON, JSON_LINES, TEXT
from ogiri.task import RequestError

STREAMED = (EVENT_STREAM, JSON_LINES)
"""What an answer can be sent in piece by piece."""

FOR_LINES = (JSON_LINES, JSON, TEXT)
FOR_STREAM = (*STREAMED, JSON, TEXT)
FOR_OTHERS = (JSON, TEXT, JSON_LINES)
FOR_ANY = (*FOR_OTHERS, EVENT_STREAM)
"""What a request can be answered with: JSON lines, one that is to be streamed, another one, one not yet read."""

JSON_LINES_NAMES = (JSON_LINES, "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
"""There is no registered name; SageMaker uses the first."""


def content_type(request: Request, consumed: Sequence[str]) -> str:
    """The media type of the body, in lower case and without its parameters; JSON_LINES for every name of that.

    Args:
        request: its header is read.
        consumed: what the model takes. One that takes JSON takes JSON lines too.

    Raises:
        RequestError: there is none, or it is not among `consumed` (415).
    """
    if JSON in consumed:
        consumed = (*consumed, JSON_LINES)
    found = _canonical(request.mimetype)
    if found not in consumed:
        said = f"is {_shorten(request.mimetype)}" if request.mimetype else "is missing"
        raise RequestError(
            f"Content-Type {said}: this model takes {', '.join(consumed)}", "unsupported_media_type", 415
        )
    return found


def accepted(request: Request, possible: Sequence[str], default: str | None = None) -> str:
    """The media type to answer with: the one of `possible` that the caller likes best.

    Args:
        request: its header is read.
        possible: the first is for a caller that does not care.
        default: comes before it, if it is possible; a request that is to be streamed heeds only one of STREAMED.

    Raises:
        RequestError: the caller accepts none (406).
    """
    if default in (STREAMED if possible == FOR_STREAM else possible):
        possible = sorted(possible, key=lambda media_type: media_type != default)
    wishes = request.accept_mimetypes
    if not wishes.provided:
        return possible[0]
    plain = MIMEAccept((_canonical(value), quality) for value, quality in wishes)
    best = plain.best_match(possible)
    if best is None:
        raise RequestError(
            f"Accept is {_shorten(str(wishes))}: this is answered with {', '.join(possible)}", "not_acceptable", 406
        )
    return best


def _canonical(media_type: str) -> str:
    """Without parameters (`; charset=utf-8`), which must not keep a wish from being met, and by its first name."""
    name = media_type.partition(";")[0].strip().lower()
    return JSON_LINES if name in JSON_LINES_NAMES else name


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
