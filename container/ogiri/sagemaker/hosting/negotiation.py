"""Which media types a request brings and wants."""

from __future__ import annotations

from collections.abc import Sequence

from werkzeug.datastructures import MIMEAccept
from werkzeug.wrappers import Request

from ogiri.sagemaker.hosting.settings import PRODUCED
from ogiri.task import RequestError


def content_type(request: Request, consumed: Sequence[str]) -> str:
    """The media type of the body, in lower case and without its parameters.

    Raises:
        RequestError: there is none, or it is not among `consumed` (415).
    """
    if request.mimetype not in consumed:
        found = f"is {_shorten(request.mimetype)}" if request.mimetype else "is missing"
        raise RequestError(
            f"Content-Type {found}: this model takes {', '.join(consumed)}", "unsupported_media_type", 415
        )
    return request.mimetype


def accepted(request: Request, default: str) -> str:
    """The media type to answer with: the one that the caller likes best, `default` if it likes all the same.

    Raises:
        RequestError: the caller accepts none (406).
    """
    offers = sorted(PRODUCED, key=lambda media_type: media_type != default)
    wishes = request.accept_mimetypes
    if not wishes.provided:
        return default
    # A parameter (`text/plain; charset=utf-8`) must not keep a wish from being met.
    plain = MIMEAccept((value.partition(";")[0].strip(), quality) for value, quality in wishes)
    best = plain.best_match(offers)
    if best is None:
        raise RequestError(
            f"Accept is {_shorten(str(wishes))}: this server answers with {', '.join(PRODUCED)}", "not_acceptable", 406
        )
    return best


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
