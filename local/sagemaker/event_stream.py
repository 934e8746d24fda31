"""Messages of `application/vnd.amazon.eventstream`, as a streamed answer of SageMaker is made of them.

https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html has the format: lengths, headers, payload, two CRCs.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_TEXT = 7  # type of a header's value


def payload_part(data: bytes) -> bytes:
    """The event with a part of the model's answer."""
    return _message(
        {":event-type": "PayloadPart", ":content-type": "application/octet-stream", ":message-type": "event"}, data
    )


def stream_error(code: str, message: str) -> bytes:
    """The exception that ends a stream.

    Args:
        code: `ModelInvocationTimeExceeded` or `StreamBroken`.
        message: what happened.
    """
    headers = {
        ":exception-type": "ModelStreamError",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return _message(headers, json.dumps({"Message": message, "ErrorCode": code}).encode())


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    packed = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _TEXT, len(text)) + text
