"""Named values with a type, a range and a default, kept in one dataclass.

Hyperparameters and request parameters are both declared this way, so that checking, error texts and documents come
from the same lines:

    @dataclass(frozen=True)
    class Parameters:
        top_p: float = parameter(0.92, "share of the probability kept", above=0, maximum=1)
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class ParameterError(ValueError):
    """A value that cannot be taken; the message names the parameter, the value and what is allowed."""


@dataclass(frozen=True)
class Bounds:
    """What a parameter may be.

    Attributes:
        doc: one line for documents and error texts.
        minimum, maximum: inclusive bounds.
        above: exclusive lower bound.
        choices: the only values allowed.
    """

    doc: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] | None = None

    def describe(self) -> str:
        """The range in words: `1 to 16`."""
        if self.choices is not None:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        parts = []
        if self.above is not None:
            parts.append(f"above {self.above:g}")
        if self.minimum is not None and self.maximum is not None:
            return f"{_number(self.minimum)} to {_number(self.maximum)}"
        if self.minimum is not None:
            parts.append(f"at least {_number(self.minimum)}")
        if self.maximum is not None:
            parts.append(f"at most {_number(self.maximum)}")
        return " and ".join(parts)


def parameter(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with bounds; `default` may be a list or a tuple (kept as a tuple)."""
    bounds = Bounds(doc, minimum, maximum, above, choices)
    if isinstance(default, list):
        default = tuple(default)
    return dataclasses.field(default=default, metadata={"bounds": bounds})


def bounds_of(cls: type) -> dict[str, Bounds]:
    """Parameter name → its bounds, in the order of declaration."""
    return {field.name: field.metadata["bounds"] for field in dataclasses.fields(cls)}


def from_json(cls: type[T], values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> T:
    """Build `cls` from JSON values whose types must fit already (an int is a float; a bool is no int).

    Args:
        cls: dataclass of `parameter` fields.
        values: name → value.
        defaults: values to use instead of the declared defaults, checked in the same way.

    Raises:
        ParameterError: unknown name (the nearest one is suggested), wrong type, out of range; all of them at once.
    """
    hints = _hints(typing.cast(Any, cls))
    bounds = bounds_of(cls)
    checked: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in {**(defaults or {}), **values}.items():
        try:
            if name not in bounds:
                raise ParameterError(unknown_name(name, list(bounds)))
            checked[name] = _check(name, _typed(name, value, hints[name]), bounds[name])
        except ParameterError as error:
            wrong.append(str(error))
    if wrong:
        raise ParameterError("; ".join(wrong))
    return cls(**checked)


def from_strings(cls: type[T], values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> T:
    """Build `cls` from strings: JSON where it parses (however often an SDK encoded it), else the string itself.

    A list may also be written as `a|b`, or as Python prints it; true and false also as 1 and 0. A value that is no
    string (old local modes send numbers) is taken as it is.

    Raises:
        ParameterError: as `from_json`.
    """
    hints = _hints(typing.cast(Any, cls))
    decoded = {name: _decode(value, hints.get(name, str)) for name, value in values.items()}
    return from_json(cls, decoded, defaults)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def unknown_name(name: str, known: list[str]) -> str:
    """The error text for an unknown name, with the nearest known one."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(sorted(known))
    return f"{name} is not a known parameter: {hint}"


def decode_string(value: Any) -> Any:
    r"""`json.loads` as often as it yields another value, else the string: `"\"5\""` → 5, `"resnet50"` → itself."""
    while isinstance(value, str):
        decoded = _json_or(value)
        if decoded == value:
            return value
        value = decoded
    return value


def _json_or(text: str) -> Any:
    """The JSON value of a text, and the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _decode(value: Any, hint: Any) -> Any:
    kinds = _kinds(hint)
    if kinds == (tuple,):
        return _decode_list(value)
    if str in kinds:  # "01" or "true" may be a name: unwrap quotes only
        while isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
            try:
                value = json.loads(value)
            except ValueError:
                break
        return None if value in ("null", "None") and type(None) in kinds else value
    value = decode_string(value)
    if value == "None" and type(None) in kinds:
        return None
    if bool in kinds:
        return _decode_bool(value)
    if float in kinds and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if int in kinds and float not in kinds and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _decode_bool(value: Any) -> Any:
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("true", "false"):
        return word == "true"
    return bool(value) if isinstance(value, int) and value in (0, 1) else value


def _decode_list(value: Any) -> Any:
    """`a|b`, a JSON list or one of Python; a number and the like are a word of that list: `5` → ["5"]."""
    while isinstance(value, str):
        decoded = _printed_list(_json_or(value))
        if not isinstance(decoded, str | list | dict) or decoded == value:
            return [part for part in value.split("|") if part]
        value = decoded
    return value


def _printed_list(value: Any) -> Any:
    """The list behind `['a', 'b']`, which is what SDKs make of it that write `str(value)`; else the value."""
    if not (isinstance(value, str) and value.startswith("[") and value.endswith("]")):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows: `int | None` → (int, NoneType), `tuple[str, ...]` → (tuple,)."""
    if typing.get_origin(hint) is tuple:
        return (tuple,)
    return typing.get_args(hint) or (hint,)


def _typed(name: str, value: Any, hint: Any) -> Any:
    kinds = _kinds(hint)
    if kinds == (tuple,):
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ParameterError(f"{name} is {_show(value)}: it must be a list of strings")
        return tuple(value)
    if value is None and type(None) in kinds:
        return None
    if bool in kinds and isinstance(value, bool):
        return value
    if isinstance(value, bool):
        raise ParameterError(f"{name} is {_show(value)}: it must be {_kind(kinds)}")
    if int in kinds and isinstance(value, int):
        return value
    if float in kinds and isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond 1.8e308
            number = math.inf
        if not math.isfinite(number):
            raise ParameterError(f"{name} is {_show(value)}: it must be a finite number")
        return number
    if str in kinds and isinstance(value, str):
        return value
    raise ParameterError(f"{name} is {_show(value)}: it must be {_kind(kinds)}")


def _check(name: str, value: Any, bounds: Bounds) -> Any:
    wrong = False
    if value is None:
        return value
    if bounds.choices is not None:
        wrong = value not in bounds.choices
    if isinstance(value, int | float) and not isinstance(value, bool):
        wrong |= bounds.minimum is not None and value < bounds.minimum
        wrong |= bounds.maximum is not None and value > bounds.maximum
        wrong |= bounds.above is not None and value <= bounds.above
    if wrong:
        raise ParameterError(f"{name} is {_show(value)}: it must be {bounds.describe()}")
    return value


def _kind(kinds: tuple[Any, ...]) -> str:
    words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", type(None): "null"}
    return " or ".join(words[kind] for kind in kinds)


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
