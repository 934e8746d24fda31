"""A request of API Gateway (HTTP API, payload 2.0) → a picture and parameters, or a clear error.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ogiri_aws.copies import jpeg_copy
from ogiri_aws.pictures import PictureError, TooLargeError, media_type, opened

MAX_BODY_BYTES = 6 * 1024 * 1024  # Lambda itself takes a request of 6 MB, base64 included
MAX_SENT_BYTES = 2_900_000  # as base64 in JSON they stay below the 4 MB of a serverless endpoint
MAX_STARS = 5
TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "application/x-image")
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp"}


class ApiError(Exception):
    """What the caller is told: a status, a code of one word and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class PictureRequest:
    """What a caller sent.

    Attributes:
        picture: a whole picture, small enough for the endpoint.
        media_type: what it is, whatever the caller said.
        parameters: of the endpoint, which checks them.
    """

    picture: bytes
    media_type: str
    parameters: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A plain file name for the picture, the same for the same bytes."""
        return f"{hashlib.sha256(self.picture).hexdigest()[:32]}.{_ENDINGS[self.media_type]}"


@dataclass(frozen=True)
class ScoreRequest:
    """Stars for a caption of an answer; `caption` counts from 0."""

    stars: float
    caption: int


def picture_request(event: Mapping[str, Any]) -> PictureRequest:
    """The picture in the body, and the query string's parameters.

    Raises:
        ApiError: 400 no picture, 413 too large, 415 another type.
    """
    body = _body(event)
    kind = _header(event, "content-type").partition(";")[0].strip().lower()
    if not body:
        raise ApiError(400, "no_picture", "the body is empty: send a picture as it is, with its Content-Type")
    if kind not in TYPES:
        raise ApiError(415, "unsupported_type", f"Content-Type is {kind!r}: it must be one of {', '.join(TYPES)}")
    if len(body) > MAX_BODY_BYTES:
        raise ApiError(413, "too_large", f"the picture has {len(body):,} bytes: at most {MAX_BODY_BYTES:,} are taken")
    try:
        sent, kind = _small(body, media_type(body))
    except TooLargeError as error:
        raise ApiError(413, "too_large", str(error)) from error
    except PictureError as error:
        raise ApiError(400, "bad_picture", str(error)) from error
    return PictureRequest(sent, kind, _parameters(event.get("queryStringParameters") or {}))


def score_request(event: Mapping[str, Any]) -> ScoreRequest:
    """`{"score": 4}` or `{"score": 4, "caption": 1}`.

    Raises:
        ApiError: 400.
    """
    try:
        value = json.loads(_body(event))
    except ValueError as error:
        raise ApiError(400, "bad_json", f'the body is no JSON ({error}): send {{"score": 4, "caption": 0}}') from error
    if not isinstance(value, dict):
        raise ApiError(400, "bad_json", 'the body is no JSON object: send {"score": 4, "caption": 0}')
    stars, caption = value.get("score"), value.get("caption", 0)
    if isinstance(stars, bool) or not isinstance(stars, int | float) or not 0 <= stars <= MAX_STARS:
        raise ApiError(400, "bad_score", f"score is {stars!r}: it must be a number from 0 to {MAX_STARS}")
    if isinstance(caption, bool) or not isinstance(caption, int) or not 0 <= caption < 100:
        raise ApiError(400, "bad_score", f"caption is {caption!r}: it must be the place of a caption, from 0 on")
    return ScoreRequest(float(stars), caption)


def idempotency_key(event: Mapping[str, Any]) -> str:
    """The header by which a caller makes sure that a request sent twice is answered once; empty without one."""
    return _header(event, "idempotency-key").strip()[:200]


def _header(event: Mapping[str, Any], name: str) -> str:
    headers = event.get("headers") or {}
    return next((str(value) for key, value in headers.items() if key.lower() == name), "")


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode("utf-8", errors="surrogateescape")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise ApiError(400, "bad_body", f"the body is no base64 ({error})") from error


def _small(picture: bytes, kind: str) -> tuple[bytes, str]:
    if len(picture) <= MAX_SENT_BYTES:
        return picture, kind
    with opened(picture) as image:
        return jpeg_copy(image, MAX_SENT_BYTES), "image/jpeg"


def _parameters(query: Mapping[str, str]) -> dict[str, Any]:
    parameters = {name: _value(text) for name, text in query.items()}
    if parameters.get("stream"):
        raise ApiError(400, "bad_parameter", "stream is not possible here: the answer comes as a whole")
    return parameters


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
