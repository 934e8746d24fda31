"""An error as AWS names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """What is answered instead of a result.

    Attributes:
        code: `ValidationException`, for example.
        status: of HTTP.
        fields: more members of the answer's body.
    """

    def __init__(self, code: str, message: str, status: int = 400, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.fields = dict(fields or {})


def invalid(message: str) -> Refusal:
    """What the control plane says of bad input, and of most names that it does not know."""
    return Refusal("ValidationException", message)
