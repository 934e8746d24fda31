from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ogiri import picture
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.request import CaptionRequest, from_document, from_picture, read_json
from ogiri.record import Label
from ogiri.task import RequestError

SIZE, DEFAULTS = 8, Parameters()


def encoded(kind: str = "PNG", side: int = 10) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)).save(out, kind)
    return out.getvalue()


IMAGE = base64.b64encode(encoded()).decode()


def read(**fields: Any) -> CaptionRequest:
    return from_document({"image": IMAGE, **fields}, SIZE, DEFAULTS)


def refused(code: str, status: int = 400, **fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        read(**fields)
    assert (caught.value.code, caught.value.status) == (code, status)
    return str(caught.value)


def test_a_document_with_everything():
    request = read(
        labels=[{"Name": "Dog", "Confidence": 70, "Parents": []}, {"Name": "Cat", "Confidence": 99.5}],
        detected_text="止まれ",
        parameters={"num_candidates": 3},
    )
    assert np.array_equal(request.rgb, picture.load(encoded(), SIZE))
    assert request.labels == (Label("Cat", 99.5), Label("Dog", 70.0))
    assert request.detected_text == "止まれ"
    assert request.parameters == Parameters(num_candidates=3)


def test_only_the_picture_is_needed():
    request = read(labels=None, detected_text=None, parameters=None)
    assert (request.labels, request.detected_text, request.parameters) == ((), "", DEFAULTS)


@pytest.mark.parametrize(
    "image", [f"data:image/png;base64,{IMAGE}", "\n".join(IMAGE[i : i + 76] for i in range(0, len(IMAGE), 76)) + "\n"]
)
def test_what_browsers_and_the_base64_command_make_is_taken(image: str):
    assert np.array_equal(read(image=image).rgb, read().rgb)


@pytest.mark.parametrize(
    ("image", "code", "message"),
    [
        (None, "invalid_request", "image is missing"),
        (7, "invalid_request", "image is a number"),
        (["x"], "invalid_request", "image is a list"),
        ("あ", "invalid_request", "base64"),
        ("a", "invalid_request", "base64"),
        (IMAGE[:40] + "*" + IMAGE[40:], "invalid_request", "base64"),
        ("", "invalid_picture", "empty"),
        (base64.b64encode(b"not a picture").decode(), "invalid_picture", "no picture"),
        (base64.b64encode(encoded()[:-30]).decode(), "invalid_picture", "cut off"),
    ],
)
def test_what_is_no_picture_is_refused(image: Any, code: str, message: str):
    assert message in refused(code, image=image)


def test_a_picture_that_is_too_large_is_413(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picture, "MAX_PIXELS", 99)
    assert "pixels" in refused("picture_too_large", 413)


@pytest.mark.parametrize(
    "labels", ["dog", 5, {"Name": "Dog"}, [5], [{"Confidence": 5}], [{"Name": "a", "Confidence": 101}]]
)
def test_labels_of_another_kind_are_refused(labels: Any):
    assert refused("invalid_request", labels=labels).startswith("labels: ")


def test_other_wrong_fields_are_named():
    assert "detected_text" in refused("invalid_request", detected_text=5)
    assert "parameters" in refused("invalid_request", parameters=[1])
    assert "did you mean labels?" in refused("invalid_request", lables=[])
    assert "known are image" in refused("invalid_request", zzz=1)
    assert "top_k" in refused("invalid_parameter", parameters={"top_k": -1})
    assert "did you mean temperature?" in refused("invalid_parameter", parameters={"temprature": 1})


@pytest.mark.parametrize("document", [None, 5, "x", [1], True])
def test_a_document_must_be_an_object(document: Any):
    with pytest.raises(RequestError, match="must be a JSON object"):
        from_document(document, SIZE, DEFAULTS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"image": ', "line 1 column"),
        (b"", "not valid JSON"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'{"parameters": {"top_k": 1, "top_k": 2}}', "'top_k' is there twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        ('{"a": "\\ud800"}'.encode("utf-16"), "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_json_is_read_strictly(body: bytes, message: str):
    with pytest.raises(RequestError) as caught:
        read_json(body)
    assert message in str(caught.value)
    assert (caught.value.code, caught.value.status) == ("invalid_json", 400)


def test_of_very_many_names_the_one_that_is_there_twice_is_found():
    names = "".join(f'"{number}": 1, ' for number in range(200_000))  # each beside each other would take minutes
    with pytest.raises(RequestError, match="'x' is there twice"):
        read_json(f'{{{names} "x": 1, "x": 2}}'.encode())


def test_what_is_far_out_of_range_is_refused():
    assert "Confidence" in refused("invalid_request", labels=[{"Name": "a", "Confidence": 10**400}])
    assert "members" in refused("invalid_parameter", parameters={f"a{number}": 1 for number in range(101)})
    assert len(refused("invalid_parameter", parameters={"a" * 1_000_000: 1})) < 1000


def test_half_a_surrogate_pair_in_an_attribute_is_refused():
    with pytest.raises(RequestError, match="banned_words has half a surrogate pair"):
        from_picture(encoded(), {"banned_words": '["\\ud800"]'}, SIZE, DEFAULTS)


def test_what_can_be_read_and_not_be_shown_is_refused():
    for depth in range(900, 1000):  # at some depths there is just enough stack to read it
        text = "[" * depth + "1" + "]" * depth
        for field in ("labels", "parameters"):
            value = text if field == "labels" else f'{{"top_k": {text}}}'
            with pytest.raises(RequestError):
                from_document(read_json(f'{{"image": "{IMAGE}", "{field}": {value}}}'.encode()), SIZE, DEFAULTS)
        with pytest.raises(RequestError):
            from_picture(encoded(), {"top_k": text}, SIZE, DEFAULTS)


def test_json_that_is_right_is_read():
    document = {"犬": ["🐶", 1.5, None, True]}
    assert read_json(json.dumps(document).encode()) == document  # 🐶 as a pair of surrogates
    assert read_json(json.dumps(document, ensure_ascii=False).encode("utf-8-sig")) == document


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_raw_picture_takes_parameters_from_the_attributes(kind: str):
    data = encoded(kind)
    request = from_picture(data, {"num_candidates": "2", "trace": "x", "banned_words": "a|b"}, SIZE, DEFAULTS)
    assert np.array_equal(request.rgb, picture.load(data, SIZE))
    assert request.parameters == Parameters(num_candidates=2, banned_words=("a", "b"))
    with pytest.raises(RequestError, match="num_candidates") as caught:
        from_picture(data, {"num_candidates": "99"}, SIZE, DEFAULTS)
    assert caught.value.code == "invalid_parameter"
    with pytest.raises(RequestError) as caught:
        from_picture(b"", {}, SIZE, DEFAULTS)
    assert caught.value.code == "invalid_picture"
