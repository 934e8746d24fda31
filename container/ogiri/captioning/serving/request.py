"""From the bytes of a request to what it asks for."""

from __future__ import annotations

import base64
import difflib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ogiri import picture
from ogiri.captioning.serving.parameters import Parameters, parameters_from_attributes, parameters_from_json
from ogiri.parameter import ParameterError
from ogiri.picture import RGB, PictureError, PictureTooLarge
from ogiri.record import Label, RecordError, labels_from
from ogiri.task import Part, RequestError

_FIELDS = ("image", "labels", "detected_text", "parameters")
_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,", re.ASCII)
_WHITE_SPACE = str.maketrans("", "", " \t\r\n")  # the `base64` command breaks its lines
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_PARAMETERS = 100  # each unknown one is told with the nearest known name, which takes time
_SHOWN_CHARACTERS = 80  # of a name that is not known


@dataclass(frozen=True)
class CaptionRequest:
    """One picture to be answered.

    Attributes:
        rgb: uint8 (size, size, 3).
        labels: what is known to be in it, best first.
        detected_text: what is known to be written in it.
        parameters: how to answer.
    """

    rgb: RGB
    labels: tuple[Label, ...]
    detected_text: str
    parameters: Parameters


def from_picture(data: bytes, attributes: Mapping[str, str], size: int, defaults: Parameters) -> CaptionRequest:
    """The request that is a picture and nothing else.

    Raises:
        RequestError: no picture, or a wrong parameter in the custom attributes.
    """
    return CaptionRequest(_rgb(data, size), (), "", _attributes(attributes, defaults))


def from_document(document: Any, size: int, defaults: Parameters) -> CaptionRequest:
    """The request in a JSON object.

    Raises:
        RequestError: it is none; the message names what is wrong.
    """
    if not isinstance(document, dict):
        raise RequestError(f"a request must be a JSON object with image, not {_kind(document)}")
    for name in document:
        _known_field(name)
    parameters = _parameters(document, defaults)
    labels, text = _known_of(document)
    return CaptionRequest(_rgb(_image(document.get("image")), size), labels, text, parameters)


def from_form(parts: Sequence[Part], attributes: Mapping[str, str], size: int, defaults: Parameters) -> CaptionRequest:
    """The request in a form: `image`, a file or base64, and labels, detected_text and parameters as they are in JSON.

    Raises:
        RequestError: a field that is missing, unknown, there twice or wrong; the message names it.
    """
    fields: dict[str, Part] = {}
    for part in parts:
        _known_field(part.name)
        if part.name in fields:
            raise RequestError(f"{part.name} is there twice in the form: it may be there once")
        fields[part.name] = part
    if "image" not in fields:
        raise RequestError("image is missing: give the picture in the form's field image")
    document = {name: _value(part) for name, part in fields.items() if name != "image"}
    return CaptionRequest(
        _rgb(_uploaded(fields["image"]), size),
        *_known_of(document),
        _parameters(document, defaults, attributes),
    )


def read_json(data: bytes) -> Any:
    """The value of a JSON text, more strictly than `json.loads`.

    Raises:
        RequestError: malformed, a name twice in one object, NaN or Infinity, half a surrogate pair.
    """
    try:
        text = data.decode("utf-8-sig")  # json.loads lets half a pair in bytes pass
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        if _SURROGATE.search(text):  # half a pair is no character: it could not be written down again
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RequestError("the body has half a surrogate pair (\\ud800 to \\udfff)", "invalid_json") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8: byte {error.start} is wrong", "invalid_json") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deeply", "invalid_json") from error
    except ValueError as error:
        raise RequestError(f"the body is not valid JSON: {error}", "invalid_json") from error
    return document


def _known_field(name: str) -> None:
    if name not in _FIELDS:
        name = name[:_SHOWN_CHARACTERS]
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(_FIELDS)
        raise RequestError(f"{name} is not a known field: {hint}")


def _known_of(document: Mapping[str, Any]) -> tuple[tuple[Label, ...], str]:
    """What is known of a picture: labels and detected text."""
    try:
        labels = labels_from(document.get("labels"))
    except RecordError as error:
        raise RequestError(f"labels: {error}") from error
    except OverflowError as error:
        raise RequestError("labels: a Confidence is far beyond 100, which is the most") from error
    except RecursionError as error:  # on the way into a message
        raise RequestError("labels is nested too deeply") from error
    text = document.get("detected_text")
    if text is not None and not isinstance(text, str):
        raise RequestError(f"detected_text is {_kind(text)}: it must be a string")
    return labels, text or ""


def _parameters(
    document: Mapping[str, Any], defaults: Parameters, attributes: Mapping[str, str] | None = None
) -> Parameters:
    """What the document asks for, beside `attributes`."""
    if attributes:
        _attributes(attributes, defaults)  # what is wrong there is told as for a picture alone
    given = _object(document, "parameters")
    if len(given) > _MAX_PARAMETERS:
        raise RequestError(f"parameters has {len(given)} members: there are not so many", "invalid_parameter")
    try:
        values = {name[:_SHOWN_CHARACTERS]: value for name, value in given.items()}
        return parameters_from_json(values, defaults, attributes)
    except ParameterError as error:
        raise RequestError(str(error), "invalid_parameter") from error
    except RecursionError as error:  # on the way into a message
        raise RequestError("parameters is nested too deeply", "invalid_parameter") from error


def _attributes(attributes: Mapping[str, str], defaults: Parameters) -> Parameters:
    try:
        parameters = parameters_from_attributes(attributes, defaults)
        "".join(parameters.banned_words).encode()
        return parameters
    except UnicodeEncodeError as error:
        raise RequestError(
            "banned_words has half a surrogate pair (\\ud800 to \\udfff)", "invalid_parameter"
        ) from error
    except ParameterError as error:
        raise RequestError(str(error), "invalid_parameter") from error
    except RecursionError as error:
        raise RequestError("a custom attribute is nested too deeply", "invalid_parameter") from error


def _value(part: Part) -> Any:
    """The value of a field beside the picture: text, or JSON."""
    try:
        return part.data.decode() if part.name == "detected_text" else read_json(part.data)
    except UnicodeDecodeError as error:
        raise RequestError(f"{part.name} is not UTF-8: byte {error.start} is wrong") from error
    except RequestError as error:
        raise RequestError(f"{part.name}: {error}", error.code) from error


def _uploaded(part: Part) -> bytes:
    """The bytes of a picture; a field that is no file may hold them in base64, and text is never a picture."""
    is_base64 = part.filename is None and part.data.isascii()
    return _image(part.data.decode()) if is_base64 else part.data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r} is there twice in one object")
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"{name} is {_kind(value)}: it must be an object")
    return value


def _image(value: Any) -> bytes:
    if value is None:
        raise RequestError("image is missing: give the picture's bytes in base64")
    if not isinstance(value, str):
        raise RequestError(f"image is {_kind(value)}: it must be a string, the picture's bytes in base64")
    prefix = _DATA_URI.match(value)
    try:
        return base64.b64decode(value[prefix.end() if prefix else 0 :].translate(_WHITE_SPACE), validate=True)
    except ValueError as error:
        raise RequestError(f"image is not valid base64: {error}") from error


def _rgb(data: bytes, size: int) -> RGB:
    try:
        return picture.load(data, size)
    except PictureTooLarge as error:
        raise RequestError(str(error), "picture_too_large", 413) from error
    except PictureError as error:
        raise RequestError(str(error), "invalid_picture") from error


def _kind(value: Any) -> str:
    kinds = {str: "a string", list: "a list", dict: "an object", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
