"""The OpenAPI file of a model, out of its task's own dataclasses.

python -m ogiri.sagemaker.hosting.openapi --task caption
python -m ogiri.sagemaker.hosting.openapi MODEL_FOLDER
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ogiri.artifact import open_artifact
from ogiri.parameter import Bounds, bounds_of
from ogiri.sagemaker.hosting.correlation import CUSTOM_ATTRIBUTES, INFERENCE_ID, REQUEST_ID
from ogiri.sagemaker.hosting.settings import EVENT_STREAM, FORM, JSON, JSON_LINES, TEXT
from ogiri.task import Description, describe

VERSION = "3.1.0"

ERRORS: Mapping[int, str] = {
    400: "the body is malformed, or something in it cannot be taken; the message names it",
    404: "no such path or model",
    405: "no such method",
    406: "nothing that Accept names can be produced",
    409: "the model is loaded already",
    413: "the body is larger than SAGEMAKER_MAX_PAYLOAD_IN_MB allows, or the picture has too many pixels",
    415: "the Content-Type is none that this model takes",
    429: "the model is busy",
    500: "internal error: the container's log has the cause",
    503: "the model is being loaded, or too many requests are being answered; Retry-After says when to come back",
    504: "the request took longer than it may",
    507: "too little memory for the model",
}
_BUSY = (429, 503)
_OF_INVOCATIONS = (400, 405, 406, 413, 415, 429, 500, 503, 504)
_STRING: Mapping[str, Any] = {"type": "string"}
_KINDS: Mapping[type, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


def document(description: Description, name: str) -> dict[str, Any]:
    """The OpenAPI document of a model called `name`."""
    return {
        "openapi": VERSION,
        "info": {"title": name, "version": "1", "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"}},
        "paths": {
            "/ping": {"get": _operation("ping", "Whether the model can answer.", {"200": _said("it can")}, (503,))},
            "/invocations": {"post": _invocations(description)},
            "/execution-parameters": {
                "get": _operation(
                    "execution_parameters",
                    "What a batch transform job does unless it is told otherwise.",
                    {"200": _said("the parameters", {JSON: {"schema": _ref("ExecutionParameters")}})},
                )
            },
            **_multi_model(description),
        },
        "components": {"schemas": _schemas(description), "headers": _headers(), "parameters": _request_headers()},
    }


# --- operations


def _operation(
    name: str, summary: str, responses: Mapping[str, Any], errors: tuple[int, ...] = (), **more: Any
) -> dict[str, Any]:
    failures = {str(status): _failure(status) for status in sorted({*errors, 400, 405, 500})}
    return {"operationId": name, "summary": summary, **more, "responses": {**responses, **failures}}


def _said(what: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    headers = {REQUEST_ID: {"$ref": "#/components/headers/RequestId"}}
    headers[CUSTOM_ATTRIBUTES] = {"$ref": "#/components/headers/CustomAttributes"}
    return {"description": what, "headers": headers, **({"content": content} if content else {})}


def _failure(status: int) -> dict[str, Any]:
    said = _said(ERRORS[status], {JSON: {"schema": _ref("Error")}})
    if status in _BUSY:
        said["headers"]["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return said


def _invocations(description: Description, name: str = "invocations", **more: Any) -> dict[str, Any]:
    parameters = [{"$ref": f"#/components/parameters/{each}"} for each in _request_headers()]
    return _operation(
        name,
        "Answer a request, or several.",
        {"200": _said("the answer, in the form that Accept asks for", _answers())},
        (*_OF_INVOCATIONS, *more.pop("errors", ())),
        parameters=[*more.pop("parameters", ()), *parameters],
        requestBody={"required": True, "content": _bodies(description)},
    )


def _bodies(description: Description) -> dict[str, Any]:
    """Content-Type → what a body of it holds."""
    bodies: dict[str, Any] = {media_type: {} for media_type in description.content_types}
    if JSON in bodies:
        bodies[JSON] = {"schema": {"oneOf": [_ref("Request"), _ref("Instances")]}}
        lines = "a request a line; application/x-jsonlines, application/jsonl and application/x-ndjson are the same"
        bodies[JSON_LINES] = {"schema": {**_STRING, "description": lines}}
    if FORM in bodies:
        texts = {
            name for name, schema in description.request["properties"].items() if "string" in schema.get("type", ())
        }
        as_json = description.request["properties"].keys() - texts - description.form.keys()
        encoding = {name: {"contentType": JSON} for name in sorted(as_json)}
        bodies[FORM] = {"schema": _ref("Form"), "encoding": encoding}
    return bodies


def _answers() -> dict[str, Any]:
    """Accept → what an answer of it holds."""
    lines = (
        "a line for each request, in their order: an answer, or an error in its place. "
        "Of a single request that is streamed: a piece a line, then the answer"
    )
    events = 'a piece an event, {"text": …}; then the event `answer`, or the event `error`'
    return {
        JSON: {"schema": {"oneOf": [_ref("Answer"), _ref("Predictions")]}},
        TEXT: {"schema": {**_STRING, "description": "the best text of each request, a line each"}},
        JSON_LINES: {"schema": {**_STRING, "description": lines}},
        EVENT_STREAM: {"schema": {**_STRING, "description": events}},
    }


def _multi_model(description: Description) -> dict[str, Any]:
    """The routes that are there with SAGEMAKER_MULTI_MODEL=true."""
    name = {"name": "model_name", "in": "path", "required": True, "schema": _STRING}
    model = {"200": _said("the model", {JSON: {"schema": _ref("Model")}})}
    page = {"name": "next_page_token", "in": "query", "schema": _STRING}
    wanted = {
        "type": "object",
        "required": ["model_name", "url"],
        "properties": {"model_name": _STRING, "url": _STRING},
    }
    body = {"required": True, "content": {JSON: {"schema": wanted}}}
    models = {"200": _said("a page of them", {JSON: {"schema": _ref("Models")}})}
    errors = (404, 409, 503, 507)
    return {
        "/models": {
            "get": _operation("list_models", "The models that are loaded.", models, (404,), parameters=[page]),
            "post": _operation("load_model", "Load a model.", model, errors, requestBody=body),
        },
        "/models/{model_name}": {
            "parameters": [name],
            "get": _operation("describe_model", "A model that is loaded.", model, (404,)),
            "delete": _operation("unload_model", "Unload a model; its memory is free afterwards.", model, (404, 503)),
        },
        "/models/{model_name}/invoke": {
            "post": _invocations(description, "invoke_model", parameters=[name], errors=(404,)),
        },
    }


# --- components


def _schemas(description: Description) -> dict[str, Any]:
    error = _object({"code": _STRING, "message": _STRING, "request_id": _STRING})
    one = {"oneOf": [_ref("Answer"), _ref("Error")]}
    several = {"type": "array", "minItems": 1, "maxItems": description.max_instances, "items": _ref("Request")}
    counts = {"MaxConcurrentTransforms": {"type": "integer"}, "MaxPayloadInMB": {"type": "integer"}}
    return {
        "Request": description.request,
        "Instances": _object({"instances": several}),
        "Form": {**description.request, "properties": {**description.request["properties"], **description.form}},
        "Parameters": parameters_schema(description.parameters),
        "Answer": description.answer,
        "Predictions": _object({"predictions": {"type": "array", "items": one}}),
        "Error": _object({"error": error}),
        "ExecutionParameters": _object({**counts, "BatchStrategy": {"const": "MULTI_RECORD"}}),
        "Model": _object({"modelName": _STRING, "modelUrl": _STRING}),
        "Models": {
            "type": "object",
            "required": ["models"],
            "properties": {"models": {"type": "array", "items": _ref("Model")}, "nextPageToken": _STRING},
        },
    }


def parameters_schema(cls: type) -> dict[str, Any]:
    """The JSON Schema of a dataclass of `ogiri.parameter` fields."""
    hints = typing.get_type_hints(cls)
    bounds = bounds_of(cls)
    properties = {
        field.name: _parameter(hints[field.name], field.default, bounds[field.name])
        for field in dataclasses.fields(cls)
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _parameter(hint: Any, default: Any, bounds: Bounds) -> dict[str, Any]:
    limits = {
        "minimum": bounds.minimum,
        "exclusiveMinimum": bounds.above,
        "maximum": bounds.maximum,
        "enum": None if bounds.choices is None else [*bounds.choices, *([None] if default is None else [])],
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return {**_type(hint), **given, "default": default, "description": bounds.doc}


def _type(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _STRING}
    kinds = [_KINDS[kind] for kind in typing.get_args(hint) or (hint,)]
    return {"type": kinds[0] if len(kinds) == 1 else kinds}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}


def _headers() -> dict[str, Any]:
    return {
        "RequestId": {"description": "names the request in the log", "schema": _STRING},
        "CustomAttributes": {"description": "as it came with the request", "schema": _STRING},
        "RetryAfter": {"description": "seconds", "schema": {"type": "integer"}},
    }


def _request_headers() -> dict[str, Any]:
    attributes = (
        "for a raw picture or a form: parameters as name=value,…, values percent-encoded UTF-8, lists separated by |; "
        "unknown names are ignored"
    )
    return {
        "CustomAttributes": _header(CUSTOM_ATTRIBUTES, attributes),
        "InferenceId": _header(INFERENCE_ID, "becomes the id of the request"),
        "RequestId": _header(REQUEST_ID, "becomes the id of the request where there is no inference id"),
    }


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": _STRING}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


# --- the command


def main() -> None:
    """Print the document."""
    parser = argparse.ArgumentParser(description="Print the OpenAPI file of a model.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("model", nargs="?", type=Path, help="the folder of its artifact")
    which.add_argument("--task", help="of any model of this task")
    arguments = parser.parse_args()
    if arguments.model is None:
        task, name = arguments.task, f"ogiri, {arguments.task}"
    else:
        artifact = open_artifact(arguments.model)
        task, name = artifact.task, artifact.name
    print(json.dumps(document(describe(task), name), ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
