"""Forms (`multipart/form-data`), through nginx: taken apart for every task, and as captions take them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.contract.server import Reply, Server, Starter

BOUNDARY = "xYzZY"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
Field = tuple[str, bytes] | tuple[str, bytes, str]


def form(*fields: Field) -> bytes:
    """Each is (name, bytes) or (name, bytes, file name)."""
    parts = []
    for name, data, *filename in fields:
        file = f'; filename="{filename[0]}"\r\nContent-Type: application/octet-stream' if filename else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(server: Server, body: bytes, content_type: str = FORM, **headers: str) -> Reply:
    return server.request("POST", "/invocations", body, {"Content-Type": content_type, **headers})


# --- every task


def test_parts_come_as_they_were_sent(echo: Server):
    data = bytes(range(256)) * 3 + b"\r\n--" + BOUNDARY[:-1].encode() + b"\r\n"
    reply = post(echo, form(("a", data, "犬.png"), ("b", b""), ("c", "猫".encode())), Accept="text/plain")
    assert (reply.status, reply.body.decode()) == (200, f"a:犬.png:{len(data)} b:None:0 c:None:3")


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (form(("a", b"1")), "multipart/form-data", "has no boundary"),
        (form(("a", b"1")), "multipart/form-data; boundary=other", "'other'"),
        (form(("a", b"1")).removesuffix(b"--\r\n"), FORM, BOUNDARY),
        (form(("a", b"1"))[:30], FORM, BOUNDARY),
        (b"--" + BOUNDARY.encode() + b"\r\nX: 1\r\n\r\n1\r\n--" + BOUNDARY.encode() + b"--", FORM, BOUNDARY),
        (form(("", b"1")), FORM, "no name"),
        (form(*[("a", b"1")] * 65), FORM, "64 parts"),
        (b"nothing of the kind", FORM, BOUNDARY),
    ],
)
def test_what_is_no_whole_form_is_400(echo: Server, body: bytes, content_type: str, message: str):
    reply = post(echo, body, content_type)
    assert (reply.status, reply.error()["code"]) == (400, "invalid_form")
    assert message in reply.error()["message"]


def test_a_form_keeps_to_the_limit_of_a_body(start: Starter):
    server = start.echo(SAGEMAKER_MAX_PAYLOAD_IN_MB="1")
    assert post(server, form(("a", bytes(1_000_000), "a"))).status == 200
    assert post(server, form(("a", bytes(1_100_000), "a"))).status == 413


# --- captions


def picture() -> bytes:
    data = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(data, "png")
    return data.getvalue()


KNOWN: dict[str, Any] = {
    "labels": [{"Name": "Dog", "Confidence": 98.2}],
    "detected_text": "本日休業",
    "parameters": {"seed": 3, "num_candidates": 2},
}
FIELDS = (
    ("labels", json.dumps(KNOWN["labels"]).encode()),
    ("detected_text", KNOWN["detected_text"].encode()),
    ("parameters", json.dumps(KNOWN["parameters"]).encode()),
)


@pytest.mark.parametrize(
    "image",
    [
        ("image", picture(), "picture.png"),
        ("image", picture()),
        ("image", base64.b64encode(picture())),
        ("image", b"data:image/png;base64," + base64.b64encode(picture())),
    ],
    ids=["file", "bytes", "base64", "data-uri"],
)
def test_a_form_is_answered_like_the_same_request_in_json(captions: Server, image: Field):
    expected = captions.invoke({"image": base64.b64encode(picture()).decode(), **KNOWN})
    assert len(expected.json()["captions"]) == 2
    assert post(captions, form(*FIELDS, image)).json() == expected.json()


def test_a_form_with_a_picture_alone_takes_parameters_from_custom_attributes(captions: Server):
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": "num_candidates=3,seed=1"}
    reply = post(captions, form(("image", picture(), "a")), **attributes)
    assert len(reply.json()["captions"]) == 3
    reply = post(captions, form(("image", picture(), "a"), ("parameters", b'{"num_candidates": 2}')), **attributes)
    assert len(reply.json()["captions"]) == 2


@pytest.mark.parametrize("name", ["best_of", "temperature", "top_k", "top_p"])
def test_beams_do_not_sample_wherever_a_form_says_so(captions: Server, name: str):
    image, beams, sampling = ("image", picture(), "a"), b'{"num_beams": 2}', json.dumps({name: 1}).encode()
    for parameters, attributes in ((beams, f"{name}=1"), (sampling, "num_beams=2"), (b"{}", f"num_beams=2,{name}=1")):
        headers = {"X-Amzn-SageMaker-Custom-Attributes": attributes}
        reply = post(captions, form(image, ("parameters", parameters)), **headers)
        assert (reply.status, reply.error()["code"]) == (400, "invalid_parameter")
        assert f"{name} is given, but num_beams is 2" in reply.error()["message"]
    one_beam = form(image, ("parameters", b'{"num_beams": 1}'))
    headers = {"X-Amzn-SageMaker-Custom-Attributes": f"{name}=1,trace=7"}
    assert post(captions, one_beam, **headers).status == 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (FIELDS, "image is missing"),
        ((("image", picture(), "a"), ("image", picture(), "b")), "image is there twice"),
        ((("image", picture(), "a"), ("imagee", b"")), "imagee is not a known field: did you mean image?"),
        ((("image", picture(), "a"), ("labels", b"[")), "labels: the body is not valid JSON"),
        ((("image", picture(), "a"), ("labels", b'[{"Name": 5}]')), "labels: "),
        ((("image", picture(), "a"), ("parameters", b"[]")), "parameters is a list"),
        ((("image", picture(), "a"), ("parameters", b'{"top_p": 2}')), "top_p is 2"),
        ((("image", picture(), "a"), ("detected_text", b"\xff")), "detected_text is not UTF-8"),
        ((("image", b"no picture", "a.png"),), "no picture"),
        ((("image", b""),), "empty"),
        ((("image", b"%%%"),), "not valid base64"),
    ],
)
def test_a_field_that_is_wrong_is_named(captions: Server, fields: tuple[Field, ...], message: str):
    reply = post(captions, form(*fields))
    assert reply.status == 400
    assert message in reply.error()["message"]
