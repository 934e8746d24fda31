"""Every status that a caller can meet: the form of its body, and the id of its request, which is in the log too."""

from __future__ import annotations

import base64
import io
import itertools
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from tests.contract.server import Reply, Server

MEGABYTE = 2**20
NUMBERS = itertools.count()


def png(width: int, height: int) -> bytes:
    """The beginning of a picture, which states how large it is."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def as_json(data: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(data).decode()}).encode()


JSON = {"Content-Type": "application/json"}
PNG = {"Content-Type": "image/png"}
LARGE = png(10_000, 5_001)

CASES: list[tuple[int, str, str, str, bytes | io.BytesIO, Mapping[str, str]]] = [
    (400, "invalid_json", "POST", "/invocations", b"{", JSON),
    (400, "invalid_json", "POST", "/invocations", b'{"image": "a", "image": "b"}', JSON),
    (400, "invalid_request", "POST", "/invocations", b"[]", JSON),
    (400, "invalid_request", "POST", "/invocations", b'{"image": 1}', JSON),
    (400, "invalid_picture", "POST", "/invocations", b"no picture", PNG),
    (400, "invalid_picture", "POST", "/invocations", as_json(b"no picture"), JSON),
    (400, "invalid_parameter", "POST", "/invocations", b'{"image": "", "parameters": {"top_p": 7}}', JSON),
    (400, "empty_body", "POST", "/invocations", b"", PNG),
    (400, "invalid_form", "POST", "/invocations", b"a", {"Content-Type": "multipart/form-data; boundary=b"}),
    (404, "not_found", "GET", "/nowhere", b"", {}),
    (404, "not_found", "GET", "/models", b"", {}),
    (405, "method_not_allowed", "GET", "/invocations", b"", {}),
    (405, "method_not_allowed", "POST", "/execution-parameters", b"", {}),
    (405, "method_not_allowed", "TRACE", "/invocations", b"", {}),
    (406, "not_acceptable", "POST", "/invocations", b"{}", {**JSON, "Accept": "text/csv"}),
    (413, "payload_too_large", "POST", "/invocations", bytes(25 * MEGABYTE + 1), PNG),
    (413, "payload_too_large", "POST", "/invocations", bytes(27 * MEGABYTE), PNG),
    (413, "picture_too_large", "POST", "/invocations", LARGE, PNG),
    (413, "picture_too_large", "POST", "/invocations", as_json(LARGE), JSON),
    (415, "unsupported_media_type", "POST", "/invocations", b"a", {"Content-Type": "text/csv"}),
    (415, "unsupported_media_type", "POST", "/invocations", b"a", {}),
]


@pytest.mark.parametrize(
    ("status", "code", "method", "path", "body", "headers"),
    CASES,
    ids=[f"{number}-{case[0]}-{case[1]}" for number, case in enumerate(CASES)],
)
def test_an_error_has_its_status_its_form_and_its_line_in_the_log(
    captions: Server, status: int, code: str, method: str, path: str, body: bytes, headers: Mapping[str, str]
):
    request_id = f"case-{next(NUMBERS)}"
    reply = captions.request(method, path, body, {**headers, "X-Request-Id": request_id})
    assert (reply.status, reply.error()["code"]) == (status, code)
    assert reply.error()["request_id"] == request_id
    assert "Traceback" not in reply.body.decode()
    assert captions.wait_for_log(request_id=request_id, status=status)["level"] == "warning"


def test_a_picture_of_50_megapixels_is_not_too_large(captions: Server):
    reply = captions.request("POST", "/invocations", png(10_000, 5_000), PNG)
    assert (reply.status, reply.error()["code"]) == (400, "invalid_picture")  # it has no pixels


# --- of the server, whatever the task


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ({"message": "no", "status": 429}, 429, "refused"),
        ({"message": "no", "status": 507}, 507, "refused"),
        ({"bug": True}, 500, "internal_error"),
    ],
)
def test_an_error_of_a_model_has_its_line_in_the_log(echo: Server, content: Any, status: int, code: str):
    request_id = f"case-{next(NUMBERS)}"
    reply: Reply = echo.invoke(content, **{"X-Request-Id": request_id})
    assert (reply.status, reply.error()["code"], reply.error()["request_id"]) == (status, code, request_id)
    assert reply.headers["Retry-After"] == ("1" if status == 429 else None)
    entry = echo.wait_for_log(request_id=request_id, status=status)
    assert (entry["error"], entry["model"]) == (code, "echo")
