"""The lines of one picture, and what is said instead of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN_BYTES = 80  # of an answer that is something else


class AnswerError(Exception):
    """Why a picture got no lines."""


@dataclass(frozen=True)
class Answer:
    """The lines of one picture.

    Attributes:
        captions: `text` and `score` of each, best first.
        model: that made them.
        result: of the API, by which `ogiri results` and `ogiri forget` know it; empty elsewhere.
        notices: what was not as it should be.
    """

    captions: tuple[Mapping[str, Any], ...]
    model: str
    result: str = ""
    notices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        shown: dict[str, Any] = {"captions": list(self.captions), "model": self.model}
        if self.result:
            shown["id"] = self.result
        if self.notices:
            shown["notices"] = list(self.notices)
        return shown


def request(picture: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON request of a picture."""
    return {"image": base64.b64encode(picture).decode(), "parameters": dict(parameters)}


def read_answer(body: bytes) -> Answer:
    """The lines in the body of an answer.

    Raises:
        AnswerError: it has none.
    """
    try:
        value = json.loads(body)
    except ValueError:
        shown = body[:SHOWN_BYTES].decode("utf-8", errors="replace")
        raise AnswerError(f"the answer is no JSON, it begins with {shown!r}: is it a caption model?") from None
    return answer_from(value)


def answer_from(value: object) -> Answer:
    """The lines in an answer's JSON.

    Raises:
        AnswerError: it has none.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("captions"), list):
        raise AnswerError("the answer has no captions: is it a caption model?")
    return Answer(
        tuple(value["captions"]),
        str(value.get("model", "")),
        str(value.get("id", "")),
        tuple(map(str, value.get("notices", ()))),
    )


def message(text: str) -> str:
    """What an error in JSON says; the text itself where it is none."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return text[:300]
