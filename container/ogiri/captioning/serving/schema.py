"""What captioning takes and gives, for its OpenAPI file (JSON Schema)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ogiri.captioning.serving.parameters import Parameters
from ogiri.task import Description

JSON = "application/json"
FORM = "multipart/form-data"
PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "application/x-image")
MAX_INSTANCES = 128  # each is held as a decoded picture until it is answered

_LABELS: Mapping[str, Any] = {
    "type": ["array", "null"],
    "description": "what is in the picture; a name alone is a label of unknown confidence",
    "items": {
        "oneOf": [
            {"type": "string"},
            {
                "type": "object",
                "required": ["Name"],
                "properties": {
                    "Name": {"type": "string"},
                    "Confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 100},
                },
            },
        ]
    },
}
_TEXT: Mapping[str, Any] = {"type": ["string", "null"], "description": "what is written in the picture"}
_PARAMETERS: Mapping[str, Any] = {"oneOf": [{"$ref": "#/components/schemas/Parameters"}, {"type": "null"}]}

_REQUEST: Mapping[str, Any] = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "image": {"type": "string", "description": "the picture's bytes in base64, a data URI too"},
        "labels": _LABELS,
        "detected_text": _TEXT,
        "parameters": _PARAMETERS,
    },
}

_ANSWER: Mapping[str, Any] = {
    "type": "object",
    "required": ["captions", "model"],
    "additionalProperties": False,
    "properties": {
        "captions": {
            "type": "array",
            "minItems": 1,
            "description": "best first",
            "items": {
                "type": "object",
                "required": ["text", "score"],
                "additionalProperties": False,
                "properties": {
                    "text": {"type": "string"},
                    "score": {"type": "number", "description": "mean log-probability a token"},
                },
            },
        },
        "model": {"type": "string"},
    },
}

DESCRIPTION = Description(
    content_types=(*PICTURES, FORM, JSON),
    parameters=Parameters,
    request=_REQUEST,
    form={"image": {"description": "a file, or the picture's bytes in base64"}},
    answer=_ANSWER,
    max_instances=MAX_INSTANCES,
)
