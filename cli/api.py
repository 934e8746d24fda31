"""The HTTP API of the stack, asked for lines as any other client asks it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from cli.answer import Answer, AnswerError, message, read_answer
from cli.errors import CommandError

POLL_SECONDS = 2.0

_REGION = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.")
_BEGINNINGS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


@dataclass(frozen=True)
class Api:
    """The API.

    Attributes:
        url: with or without /captions.
        token: for an authoriser of the kind jwt; without one requests are signed, where this machine has credentials.
        timeout: of one picture, in seconds; an asynchronous answer is asked for so long.
    """

    url: str
    token: str | None
    timeout: float

    def ask(self, picture: bytes, parameters: dict[str, Any]) -> Answer:
        """The lines of a picture; raises AnswerError where there are none in time."""
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise CommandError(f"--api is {self.url!r}: it must start with https://, as deploy.sh prints it")
        base = self.url.rstrip("/").removesuffix("/captions")
        query = urlencode({name: json.dumps(value, ensure_ascii=False) for name, value in parameters.items()})
        deadline = time.monotonic() + self.timeout
        url = f"{base}/captions" + (f"?{query}" if query else "")
        status, headers, answer = self._call("POST", url, picture)
        place = urljoin(f"{base}/", str(headers.get("Location", "")).lstrip("/"))
        while status == 202:
            if time.monotonic() > deadline:
                raise AnswerError(f"no answer within {self.timeout:g} s; it will be at {place}")
            time.sleep(POLL_SECONDS)
            status, _, answer = self._call("GET", place, None)
        return read_answer(answer)

    def _call(self, method: str, url: str, body: bytes | None) -> tuple[int, Any, bytes]:
        kind = {} if body is None else {"Content-Type": _media_type(body)}
        headers = self._authorised(method, url, body, kind)
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  checked above
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            text = ""
            with error, contextlib.suppress(OSError, http.client.HTTPException):  # the status says enough
                text = error.read().decode("utf-8", errors="replace")
            raise AnswerError(f"the API answered {error.code}: {message(text)}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise AnswerError(f"{url} did not answer: {error}") from error

    def _authorised(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, str]:
        if self.token:
            return {**headers, "Authorization": f"Bearer {self.token}"}
        session = boto3.Session()
        credentials = session.get_credentials()
        if credentials is None:
            return headers
        found = _REGION.search(url)
        region = found[1] if found else session.region_name
        if region is None:
            raise CommandError("no AWS region is set: set AWS_DEFAULT_REGION, requests are signed for one")
        signed = AWSRequest(method=method, url=url, data=body, headers=headers)
        SigV4Auth(credentials, "execute-api", region).add_auth(signed)
        return dict(signed.headers.items())


def _media_type(picture: bytes) -> str:
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _BEGINNINGS if picture.startswith(start)), "application/x-image")
