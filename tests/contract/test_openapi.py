"""The OpenAPI file: it is what the code says, and the server keeps to it."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import validate
from PIL import Image

from ogiri.captioning.model.tokenizer import train_tokenizer
from tests.captioning.serving import tiny
from tests.contract.server import Server, Starter, write_echo

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "openapi.json"
DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))


def made(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "ogiri.sagemaker.hosting.openapi", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "container")},
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout


def test_the_committed_file_is_what_the_code_says():
    assert made("--task", "caption") == FILE.read_text(encoding="utf-8"), (
        "run: PYTHONPATH=container python -m ogiri.sagemaker.hosting.openapi --task caption > docs/openapi.json"
    )


def test_it_is_openapi():
    validate(DOCUMENT)


def test_an_artifact_names_its_task_and_itself(tmp_path: Path):
    tokenizer = train_tokenizer(["犬も歩けば棒に当たる。"] * 5, 300)
    model = tiny.write_artifact(tmp_path / "model", tokenizer.model, tokenizer.vocabulary)
    found = json.loads(made(str(model)))
    assert found["info"]["title"] == json.loads((model / "manifest.json").read_text())["name"]
    assert found["paths"] == DOCUMENT["paths"]


def test_parameters_have_type_range_default_and_words():
    properties = DOCUMENT["components"]["schemas"]["Parameters"]["properties"]
    top_p, seed = properties["top_p"], properties["seed"]
    assert (top_p["type"], top_p["exclusiveMinimum"], top_p["maximum"], top_p["default"]) == ("number", 0, 1, 0.92)
    assert (seed["type"], seed["minimum"], seed["maximum"]) == (["integer", "null"], 0, 2**63 - 1)
    assert properties["ranking"]["enum"] == ["likelihood", "relevance", "length_debiased"]
    assert properties["banned_words"] == {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "never in a line, whatever their width, case or spacing",
    }


# --- the server keeps to it


def picture() -> str:
    data = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(data, "png")
    return base64.b64encode(data.getvalue()).decode()


def check(value: Any, name: str) -> None:
    """Raises ValidationError where `value` does not fit the schema of that name."""
    root = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    Draft202012Validator(root).validate(value)


REQUESTS: list[dict[str, Any]] = [
    {"image": picture()},
    {"image": picture(), "labels": ["Dog", {"Name": "Cat", "Confidence": 98.2}], "detected_text": "本日休業"},
    {"image": picture(), "labels": None, "detected_text": None, "parameters": None},
    {"image": picture(), "parameters": {"num_candidates": 3, "temperature": 0, "seed": None, "banned_words": ["犬"]}},
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_requests_that_it_allows_are_answered_as_it_says(captions: Server, request_: dict[str, Any]):
    check(request_, "Request")
    reply = captions.invoke(request_)
    assert reply.status == 200
    check(reply.json(), "Answer")
    several = captions.invoke({"instances": [request_] * 2})
    check({"instances": [request_] * 2}, "Instances")
    check(several.json(), "Predictions")


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"image": 5},
        {"image": picture(), "imagee": ""},
        {"image": picture(), "labels": [5]},
        {"image": picture(), "labels": [{"Name": "Dog", "Confidence": 101}]},
        {"image": picture(), "detected_text": 5},
        *(
            {"image": picture(), "parameters": {name: value}}
            for name, value in [
                ("num_candidates", 17),
                ("num_candidates", 1.5),
                ("top_p", 0),
                ("ranking", "best"),
                ("seed", -1),
                ("banned_words", "犬"),
                ("unknown", 1),
                ("stream", 1),
            ]
        ),
    ],
)
def test_requests_that_it_forbids_are_refused_as_it_says(captions: Server, request_: dict[str, Any]):
    with pytest.raises(ValidationError):
        check(request_, "Request")
    reply = captions.invoke(request_)
    assert reply.status == 400
    check(reply.json(), "Error")


def test_every_media_type_that_it_names_is_known_and_no_other(captions: Server):
    operation = DOCUMENT["paths"]["/invocations"]["post"]
    for media_type in operation["requestBody"]["content"]:
        reply = captions.request("POST", "/invocations", b"?", {"Content-Type": media_type})
        assert reply.status == (200 if media_type == "application/jsonlines" else 400), media_type
    for media_type in operation["responses"]["200"]["content"]:
        reply = captions.invoke(REQUESTS[0], Accept=media_type)
        assert reply.status == 200
        assert reply.headers["Content-Type"].partition(";")[0] == media_type
    refused = captions.request("POST", "/invocations", b"?", {"Content-Type": "text/csv"})
    named = refused.error()["message"].partition(" takes ")[2].split(", ")
    assert set(named) == set(operation["requestBody"]["content"])


def test_every_route_that_it_names_is_there(start: Starter, tmp_path: Path):
    several = start(write_echo(tmp_path), {"SAGEMAKER_MULTI_MODEL": "true"})
    several.wait_for_ping(200)
    for path, item in DOCUMENT["paths"].items():
        if path != "/invocations":
            methods = {method.upper() for method in item if method != "parameters"}
            reply = several.request("PATCH", path.replace("{model_name}", "a"))
            assert reply.status == 405
            assert methods == set(reply.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"}


def test_execution_parameters_are_as_it_says(captions: Server):
    check(captions.request("GET", "/execution-parameters").json(), "ExecutionParameters")
