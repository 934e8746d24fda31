"""What a hostile or clumsy caller may send, as Hypothesis strategies, and what must come of it whatever was sent.

`test_request_fuzz.py` tries a few hundred of each, `benchmarks/serving/fuzz.py` as many as there is time for.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from ogiri import picture
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.predictor import CaptionPredictor
from ogiri.captioning.serving.request import CaptionRequest
from ogiri.parameter import bounds_of, from_json
from ogiri.picture import FORMATS, PictureError
from ogiri.sagemaker.hosting import body as bodies
from ogiri.sagemaker.hosting.correlation import custom_attributes
from ogiri.sagemaker.hosting.errors import MAX_BODY_BYTES, error_body
from ogiri.sagemaker.hosting.exchange import answer_lines, lines
from ogiri.task import Answer, Body, Deadline, Payload, RequestError

SIZE = 8  # of the pictures of `tiny`
STATUSES = {400, 413, 415}
BOUNDARY = "xYzZY"
NAMES = tuple(bounds_of(Parameters))


def _picture(kind: str, mode: str, **options: Any) -> bytes:
    pixels = np.arange(12 * 9 * 4, dtype=np.uint8).reshape(9, 12, 4)
    out = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(out, kind, **options)
    return out.getvalue()


def _gif() -> bytes:
    frames = [Image.new("P", (12, 9), colour) for colour in (1, 2)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], transparency=1)
    return out.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


PICTURES = (
    _picture("JPEG", "RGB", exif=_exif()),
    _picture("JPEG", "RGB", progressive=True),
    _picture("JPEG", "CMYK"),
    _picture("JPEG", "L"),
    _picture("PNG", "RGBA"),
    _picture("PNG", "RGB", transparency=(0, 1, 2), exif=_exif()),
    _picture("PNG", "P", transparency=3),
    _picture("PNG", "I;16", transparency=3),
    _picture("PNG", "LA"),
    _picture("PNG", "1"),
    _picture("WEBP", "RGBA", exif=_exif()),
    _picture("WEBP", "RGB", lossless=True),
    _gif(),
    _picture("BMP", "RGB"),
    _picture("BMP", "RGBA"),
    _picture("BMP", "P"),
    _picture("BMP", "1"),
)
"""Whole ones, in every format and with what formats can carry."""

# --- what is sent

_JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from([10**400, -1, 2**63, "1e999", "犬", "", "\ud800", "a" * 3000, 1e308]),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=5), values, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, originals: tuple[bytes, ...]) -> bytes:
    """One of `originals` with bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(1, 8))
        change = draw(st.sampled_from(["replace", "insert", "cut", "double", "end"]))
        new = draw(
            st.binary(max_size=size) | st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\n", b'"'])
        )
        if change == "replace":
            data[at : at + len(new)] = new
        elif change == "insert":
            data[at:at] = new
        elif change == "cut":
            del data[at : at + size]
        elif change == "double":
            data[at:at] = data[at : at + 8 * size]
        elif draw(st.booleans()):
            del data[at:]
    return bytes(data)


pictures = mutated(PICTURES)

_good = st.fixed_dictionaries(
    {"image": st.sampled_from(PICTURES).map(lambda data: base64.b64encode(data).decode())},
    optional={
        "labels": st.lists(
            st.sampled_from(["Dog", "犬", {"Name": "Cat"}, {"Name": "a", "Confidence": 99.5, "Parents": []}]),
            max_size=4,
        ),
        "detected_text": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "parameters": st.sampled_from(
            [{}, {"seed": 1}, {"num_beams": 2}, {"num_candidates": 3, "top_k": 0}, {"banned_words": ["犬", ""]}]
        ),
    },
)
_bad = st.fixed_dictionaries(
    {},
    optional={
        "image": pictures.map(lambda data: base64.b64encode(data).decode()) | _JSON_VALUES,
        "labels": _JSON_VALUES
        | st.lists(st.fixed_dictionaries({"Name": st.text(max_size=8), "Confidence": _JSON_VALUES}), max_size=2),
        "detected_text": _JSON_VALUES,
        "parameters": st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=12), _JSON_VALUES, max_size=3),
        "lables": _JSON_VALUES,
    },
)

documents = _good | st.tuples(_good, _bad).map(lambda both: {**both[0], **both[1]}) | _JSON_VALUES
"""Requests in JSON: good ones, those with something wrong in them, and anything."""

_instances = st.fixed_dictionaries({"instances": st.lists(documents, max_size=3) | _JSON_VALUES})


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    """JSON, some of it malformed, in another encoding, or with half a surrogate pair."""
    document = draw(documents | _instances)
    text = json.dumps(document, ensure_ascii=draw(st.booleans()))
    encoding = draw(st.sampled_from([*["utf-8"] * 7, "utf-8-sig", "utf-16", "utf-32"]))
    data = text.encode(encoding, "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        data = draw(mutated((data, b'{"a": 1, "a": 2}', b"[" * 2000, b'{"image": ' * 990, b"1" * 5000)))
    return data


attributes = st.lists(
    st.tuples(
        st.sampled_from(NAMES) | st.text(max_size=8),
        st.text(st.characters(max_codepoint=255), max_size=20)
        | st.sampled_from(
            ["%ff", "%E7%8A%AC|%E7%8C%AB", "[" * 990, '["\\ud800"]', '""', "1e400", "nan", "null", "9" * 5000]
        ),
    ),
    max_size=4,
).map(lambda pairs: ",".join(f"{name}={value}" for name, value in pairs).encode("latin-1", "replace").decode("latin-1"))
"""The custom attributes as WSGI hands them over."""


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """A form, whole or not."""
    parts = [("image", draw(st.sampled_from(PICTURES)), '; filename="a.png"')]
    parts += [
        (name, value if isinstance(value, bytes) else json.dumps(value).encode(), "")
        for name, value in draw(_good).items()
        if name != "image"
    ]
    parts += draw(
        st.lists(
            st.tuples(
                st.sampled_from(["image", "labels", "detected_text", "parameters"]) | st.text(max_size=6),
                pictures | json_bodies() | st.binary(max_size=20),
                st.sampled_from(['; filename="a.png"', "", "; filename*=UTF-8''%ff", ';filename="']),
            ),
            max_size=2,
        )
    )
    data = b""
    for name, part, file in draw(st.permutations(parts)):
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        data += head.encode("utf-8", "surrogatepass") + part + b"\r\n"
    data += f"--{BOUNDARY}--\r\n".encode()
    return draw(mutated((data,)) | st.just(data))


line_bodies = st.lists(
    json_bodies() | st.binary(max_size=10) | st.sampled_from([b"", b" ", b"{}"]), max_size=5
).flatmap(lambda found: st.sampled_from([b"\n".join(found), b"\r\n".join(found), b"\n".join(found) + b"\n"]))

# --- what must come of it


def check_picture(data: bytes) -> bool:
    """A picture is read or refused; True if it was read."""
    try:
        rgb = picture.load(data, SIZE)
    except PictureError as error:
        _check_refusal(RequestError(str(error)))
        return False
    _check_rgb(rgb)
    return True


def check_body(predictor: CaptionPredictor, body: Body) -> bool:
    """A body becomes requests that keep all bounds, or is refused; True if it became requests."""
    try:
        payload = predictor.parse(body)
    except RequestError as error:
        _check_refusal(error)
        return False
    _check_payload(payload)
    return True


def check_attributes(predictor: CaptionPredictor, header: str) -> bool:
    """A header of custom attributes beside a whole picture, likewise."""
    return _check_parsed(predictor, lambda: Body("image/png", PICTURES[4], custom_attributes(header, NAMES)))


def check_form(predictor: CaptionPredictor, data: bytes) -> bool:
    """A form likewise."""
    return _check_parsed(predictor, lambda: Body("multipart/form-data", b"", {}, bodies.parts(data, BOUNDARY)))


def check_lines(predictor: CaptionPredictor, data: bytes) -> bool:
    """Each line has one answer, in its place, and that is what the line has alone; True if a line was answered."""
    found = list(answer_lines(predictor, Body("application/jsonlines", data), Deadline.after(60), lambda: False))
    given = list(lines(data))
    ends = data.split(b"\n")
    assert given == [each.removesuffix(b"\r") for each in (ends if ends[-1] else ends[:-1])]
    assert len(found) == len(given)
    for line, outcome in zip(given, found, strict=True):
        if isinstance(outcome, Answer):
            assert check_body(predictor, Body("application/json", line))
            json.dumps(outcome.json, ensure_ascii=False, allow_nan=False).encode()
        else:
            assert isinstance(outcome, RequestError), outcome
            _check_refusal(outcome)
    return any(isinstance(outcome, Answer) for outcome in found)


def _check_parsed(predictor: CaptionPredictor, make: Callable[[], Body]) -> bool:
    try:
        body = make()
    except RequestError as error:
        _check_refusal(error)
        return False
    return check_body(predictor, body)


def _check_payload(payload: Payload) -> None:
    assert payload.requests
    for request in payload.requests:
        assert isinstance(request, CaptionRequest)
        _check_rgb(request.rgb)
        values: Mapping[str, Any] = {name: getattr(request.parameters, name) for name in NAMES}
        assert from_json(Parameters, values) == request.parameters  # within all bounds
        known = [request.detected_text, *(label.name for label in request.labels), *request.parameters.banned_words]
        "".join(known).encode()
        assert all(label.confidence is None or 0 <= label.confidence <= 100 for label in request.labels)
    assert not payload.stream or len(payload.requests) == 1


def _check_rgb(rgb: np.ndarray) -> None:
    assert (rgb.shape, rgb.dtype) == ((SIZE, SIZE, 3), np.uint8)


def _check_refusal(error: RequestError) -> None:
    assert error.status in STATUSES
    assert str(error)
    told = error_body(error.code, str(error), "id")
    assert len(told) <= MAX_BODY_BYTES
    assert json.loads(told)["error"]["code"] == error.code


assert {Image.open(io.BytesIO(data)).format for data in PICTURES} == set(FORMATS)
