"""Environment variables → a dataclass.

A variable is the field's name in capitals: `dynamodb_table_name` is `DYNAMODB_TABLE_NAME`. Empty counts as not set,
since a template cannot leave a variable out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_type_hints

Texts = tuple[str, ...]
T = TypeVar("T")


class SettingsError(ValueError):
    """An environment variable that is missing or wrong; the message names it and the way out."""


def read(kind: type[T], environment: Mapping[str, str] | None = None) -> T:
    """The settings of one function, from `os.environ` unless another one is given.

    Raises:
        SettingsError: a variable is missing, of the wrong type or out of range.
    """
    source = os.environ if environment is None else environment
    types = get_type_hints(kind)
    values = {}
    for entry in fields(kind):  # type: ignore[arg-type]  # all of them are dataclasses
        text = source.get(entry.name.upper(), "").strip()
        if text:
            values[entry.name] = _parsed(entry.name, text, types[entry.name])
        elif _is_required(entry):
            raise SettingsError(f"{entry.name.upper()} is not set: the template sets it for this function")
    return kind(**values)


def _is_required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _parsed(name: str, text: str, kind: Any) -> Any:
    parse, wanted = _PARSERS[kind]
    try:
        return parse(text)
    except ValueError as error:
        raise wrong(name, text, wanted) from error


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _texts(text: str) -> Texts:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "a string"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (_boolean, "true or false"),
    Texts: (_texts, "names separated by commas"),
    Mapping[str, Any]: (_object, 'a JSON object, {"name": "value"}'),
}


def check_choice(settings: object, name: str, allowed: tuple[str, ...]) -> None:
    """Raise SettingsError unless the field has one of these values."""
    if getattr(settings, name) not in allowed:
        raise wrong(name, getattr(settings, name), " or ".join(allowed))


def check_at_least(settings: object, least: float, *names: str) -> None:
    """Raise SettingsError unless the fields are so large at least."""
    for name in names:
        if not getattr(settings, name) >= least:
            raise wrong(name, getattr(settings, name), f"{least:g} or more")


def check_percent(settings: object, *names: str) -> None:
    """Raise SettingsError unless the fields are 0 to 100."""
    for name in names:
        if not 0 <= getattr(settings, name) <= 100:
            raise wrong(name, getattr(settings, name), "0 to 100")


def wrong(name: str, value: object, wanted: str) -> SettingsError:
    """The error for a field with a wrong value."""
    return SettingsError(f"{name.upper()} is {value!r}: it must be {wanted}")
