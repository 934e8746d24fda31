"""Typed items of DynamoDB → rows of the records, most of them without a `Record` in between.

A table has one form of item, the one that this project writes; it is read directly. What is not of that form goes
through `ogiri.record.from_item`, which knows every form and says what is wrong with an item.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec
from boto3.dynamodb.types import TypeDeserializer

from ogiri.captioning.data.records import RecordsBuilder
from ogiri.record import Record, RecordError, check_image_key, check_line, from_item

ATTRIBUTES = ("ImageKey", "ExpectedResult", "Labels", "DetectedText", "Score")

_INFINITY = float("inf")
_read = TypeDeserializer().deserialize


class _Text(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    S: str


class _Number(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    N: str


class _Label(msgspec.Struct, frozen=True, gc=False):
    Name: _Text
    Confidence: _Number


class _LabelMember(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    M: _Label


class _Labels(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    L: list[_LabelMember]


class _Item(msgspec.Struct, frozen=True, gc=False):
    ImageKey: _Text
    ExpectedResult: _Text
    Labels: msgspec.Raw = msgspec.Raw(b'{"L":[]}')
    DetectedText: _Text = _Text("")
    Score: _Number | None = None


class _Line(msgspec.Struct, frozen=True, gc=False):
    Item: msgspec.Raw


_ITEM, _LABELS, _LINE = msgspec.json.Decoder(_Item), msgspec.json.Decoder(_Labels), msgspec.json.Decoder(_Line)


class ItemReader:
    """Puts typed items into a builder. The items of one picture stand together in a table, mostly with equal labels."""

    def __init__(self, builder: RecordsBuilder) -> None:
        self._builder = builder
        self._labels = b""
        self._names: list[int] = []
        self._confidences: list[float] = []

    def add(self, item: bytes | msgspec.Raw) -> None:
        """Take an item in JSON.

        Raises:
            RecordError: it is no record.
        """
        try:
            row = self._row(_ITEM.decode(item))
        except (KeyError, ValueError):  # errors of msgspec and RecordError are ValueErrors
            self._builder.add(_record_of(_parsed(bytes(item))))
        else:
            self._builder.add_row(*row)

    def add_line(self, line: bytes) -> None:
        """Take a record in JSON: a line of a DynamoDB export, `{"Item": {…}}`, or an object with plain attributes.

        Raises:
            RecordError: it is no record.
        """
        try:
            item = bytes(_LINE.decode(line).Item)
        except ValueError:
            item = b""
        if item.startswith(b"{"):
            self.add(item)
        else:
            self._builder.add(from_item(_parsed(line)))

    def _row(self, item: _Item) -> tuple[str, str, list[int], list[float], str, float | None]:
        """What the builder takes. An error says only that the item is of another form, or that it is none."""
        key, line = check_image_key(item.ImageKey.S), check_line(item.ExpectedResult.S)
        labels = bytes(item.Labels)
        if labels != self._labels:
            self._read_labels(labels)
        score = None if item.Score is None else float(item.Score.N)
        if score is not None and not -_INFINITY < score < _INFINITY:
            raise ValueError("a score out of range")
        return key, line, self._names, self._confidences, item.DetectedText.S, score

    def _read_labels(self, value: bytes) -> None:
        members, known = [member.M for member in _LABELS.decode(value).L], self._builder.names
        names = [known[label.Name.S] for label in members]  # a new name is checked by `from_item`
        confidences = [float(label.Confidence.N) for label in members]
        total = sum(confidences)
        if members and (math.isnan(total) or min(confidences) < 0 or max(confidences) > 100):
            raise ValueError("a confidence out of range")
        if sorted(confidences, reverse=True) != confidences:
            order = sorted(range(len(names)), key=confidences.__getitem__, reverse=True)
            names, confidences = [names[i] for i in order], [confidences[i] for i in order]
        self._labels, self._names, self._confidences = value, names, confidences


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"this is no line of JSON ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"this is {type(value).__name__} in JSON: a record is an object")
    return value


def _record_of(item: Mapping[str, Any]) -> Record:
    """The record in a typed item of any form; attributes that nobody reads may be of any kind."""
    try:
        plain = {name: _read(value) for name, value in item.items() if name in ATTRIBUTES}
    except (TypeError, AttributeError, ArithmeticError) as error:
        raise RecordError(f"this is no item of DynamoDB ({error})") from error
    return from_item(plain)
