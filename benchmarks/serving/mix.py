"""The requests of which a mixture is asked: good ones whose answers are known, and malformed ones."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

JSON = "application/json"
LINES = "application/jsonlines"
EVENTS = "text/event-stream"
BOUNDARY = "xYzZY"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

OK = 200
REFUSALS = frozenset({500, 503, 504, 507})
"""What says that there is no answer, whatever was asked: nobody takes it for one."""

SCORE_TOLERANCE = 2e-4  # scores are rounded to 1e-4, and a last digit may fall to either side
SEED = 0
LENGTH = 20


@dataclass(frozen=True, eq=False)
class Query:
    """A request, and the status that it has on an undisturbed server.

    Attributes:
        name: what is right or wrong with it.
        body: its bytes.
        headers: Content-Type, Accept and the like.
        status: what comes back.
    """

    name: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    status: int = OK

    def meaning(self, content: bytes) -> Any:
        """What an answer says, in a form that can be compared: without request ids, a stream as its whole text.

        Raises:
            ValueError: it is cut off, or nothing that `serve` answers.
        """
        accept = self.headers.get("Accept", "")
        if accept == EVENTS and content.startswith(b"data:"):
            return _stream(content.decode())
        if accept == "text/plain" and not content.startswith(b'{"error"'):
            return content.decode()
        return [_nameless(json.loads(line)) for line in content.splitlines()]


def same(one: Any, other: Any) -> bool:
    """Whether two meanings are equal, scores but for their last digit."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= SCORE_TOLERANCE
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


def mixture(queries: list[Query], bad: list[Query], count: int, share: float) -> Iterator[Query]:
    """So many requests, a share of them malformed, the same ones each time."""
    chance = random.Random(SEED)  # noqa: S311
    for _ in range(count):
        yield chance.choice(bad if chance.random() < share else queries)


def good() -> list[Query]:
    """Requests of every kind, all with fixed seeds."""
    jpeg, png, bmp = _photo("JPEG"), _photo("PNG"), _photo("BMP", 1000, 600)
    alone = _document(jpeg, labels=[{"Name": "Dog", "Confidence": 98.5}], detected_text="止まれ", seed=1)
    several = [_document(each, seed=seed) for seed, each in enumerate((jpeg, png, png))]
    lines = [json.dumps(each) for each in (several[0], {"image": "%"}, several[1])]
    return [
        Query("JSON", _bytes(alone)),
        Query("candidates", _bytes(_document(png, seed=2, num_candidates=4, best_of=6))),
        Query("beams", _bytes(_document(jpeg, num_beams=4))),
        Query("instances", _bytes({"instances": several})),
        Query("lines, one of them bad", "\n".join(lines).encode(), {"Content-Type": LINES}),
        Query("picture", jpeg, {"Content-Type": "image/jpeg", ATTRIBUTES: _attributes(3)}),
        Query("picture of 1.8 MB", bmp, {"Content-Type": "image/bmp", ATTRIBUTES: _attributes(4)}),
        Query("plain text", png, {"Content-Type": "image/png", "Accept": "text/plain", ATTRIBUTES: _attributes(5)}),
        Query("form", _form(("image", png), ("parameters", b'{"seed": 6}')), {"Content-Type": FORM}),
        stream(),
    ]


def stream() -> Query:
    """One that is streamed."""
    return Query("stream", _bytes(_document(_photo("JPEG"), seed=7)), {"Content-Type": JSON, "Accept": EVENTS})


def malformed() -> list[Query]:
    """Requests that are refused, but for lines, whose errors stand in their places."""
    jpeg, png = _photo("JPEG"), _photo("PNG")
    whole = _bytes(_document(jpeg, seed=1))
    text = base64.b64encode(png).decode()
    return [
        Query("JSON cut off", whole[: len(whole) // 2], status=400),
        Query("no JSON", b"image=1", status=400),
        Query("a list", b"[1, 2]", status=400),
        Query("nested too deeply", b"[" * 100_000, status=400),
        Query("a name twice", b'{"image": "", "image": ""}', status=400),
        Query("half a surrogate pair", b'{"image": "", "detected_text": "\\ud800"}', status=400),
        Query("not UTF-8", b'{"image": "", "detected_text": "\xed\xa0\x80"}', status=400),
        Query("broken base64", _bytes({"image": text[:50] + "*" + text[51:]}), status=400),
        Query("no picture", _bytes({"image": "bm8gcGljdHVyZQ=="}), status=400),
        Query("JPEG cut off", jpeg[: len(jpeg) // 2], {"Content-Type": "image/jpeg"}, 400),
        Query("JPEG cut off in JSON", _bytes(_document(jpeg[:-500])), status=400),
        Query("PNG of 100 megapixels", _bomb(), {"Content-Type": "image/png"}, 413),
        Query("image is a number", _bytes({"image": 5}), status=400),
        Query("labels are a number", _bytes({**_document(png), "labels": 5}), status=400),
        Query(
            "a Confidence of 400 digits",
            _bytes({**_document(png), "labels": [{"Name": "a", "Confidence": 10**400}]}),
            status=400,
        ),
        Query("detected_text is a list", _bytes({**_document(png), "detected_text": []}), status=400),
        Query("parameters are a string", _bytes({**_document(png), "parameters": "x"}), status=400),
        Query("unknown field", _bytes({**_document(png), "lables": []}), status=400),
        Query("unknown parameter", _bytes(_document(png, temprature=1)), status=400),
        Query("parameter out of range", _bytes(_document(png, num_candidates=17)), status=400),
        Query("attribute out of range", png, {"Content-Type": "image/png", ATTRIBUTES: "top_p=2"}, 400),
        Query("a bad instance", _bytes({"instances": [_document(png), {}]}), status=400),
        Query("wrong Content-Type", whole, {"Content-Type": "text/csv"}, 415),
        Query("no Content-Type", whole, {}, 415),
        Query("Accept that cannot be met", whole, {"Content-Type": JSON, "Accept": "image/png"}, 406),
        Query("empty body", b"", status=400),
        Query("empty form", b"", {"Content-Type": FORM}, 400),
        Query("form cut off", _form(("image", png))[:-20], {"Content-Type": FORM}, 400),
        Query("form without image", _form(("parameters", b"{}")), {"Content-Type": FORM}, 400),
        Query("bad lines", b'{"image": 1}\n\n[\n"x"\n{}', {"Content-Type": LINES}),
    ]


def _attributes(seed: int) -> str:
    return f"max_length={LENGTH},seed={seed}"


def _document(data: bytes, labels: Any = (), detected_text: str = "", **parameters: Any) -> dict[str, Any]:
    return {
        "image": base64.b64encode(data).decode(),
        "labels": list(labels),
        "detected_text": detected_text,
        "parameters": {"max_length": LENGTH, **parameters},
    }


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def _form(*fields: tuple[str, bytes]) -> bytes:
    parts = []
    for name, data in fields:
        file = '; filename="a"' if name == "image" else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _photo(kind: str, width: int = 160, height: int = 120) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(SEED).integers(0, 256, (height, width, 3), np.uint8)).save(out, kind)
    return out.getvalue()


def _bomb() -> bytes:
    """A PNG of a few hundred bytes that says it has 10,000 × 10,000 pixels."""
    chunks = [(b"IHDR", struct.pack(">2I5B", 10_000, 10_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99_999)))]
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _stream(text: str) -> Any:
    *pieces, last = text.removesuffix("\n\n").split("\n\n")
    if not last.startswith("event: answer\ndata: "):
        raise ValueError(f"the stream ends with {last[:80]!r}")
    written = "".join(json.loads(piece.removeprefix("data: "))["text"] for piece in pieces)
    return [written, json.loads(last.removeprefix("event: answer\ndata: "))]


def _nameless(document: Any) -> Any:
    if isinstance(document, dict) and "error" in document:
        return {"error": {name: value for name, value in document["error"].items() if name != "request_id"}}
    return document
