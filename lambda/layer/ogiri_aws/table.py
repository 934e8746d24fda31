"""The table of records, as the ingest reads and writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from ogiri.record import Label, Record, RecordError, labels_from, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_READ = TypeDeserializer()
_WRITE = TypeSerializer()


@dataclass(frozen=True)
class Known:
    """What the table has on a picture.

    Attributes:
        lines: those that are there.
        analysis: labels and text of the picture, None if it was never analysed.
    """

    lines: frozenset[str]
    analysis: tuple[tuple[Label, ...], str] | None


def known(client: DynamoDBClient, table: str, image_key: str) -> Known:
    """Read all that the table has on a picture, writes of a moment ago included."""
    lines: set[str] = set()
    labels: tuple[Label, ...] | None = None
    text = ""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="ImageKey = :key",
        ExpressionAttributeValues={":key": {"S": image_key}},
        ProjectionExpression="ExpectedResult, Labels, DetectedText",
    )
    for page in pages:
        for item in page["Items"]:
            values = {name: _READ.deserialize(value) for name, value in item.items()}
            lines.add(values["ExpectedResult"])
            if labels is None and values.get("Labels") is not None:
                labels = _labels(values["Labels"])
            text = text or str(values.get("DetectedText") or "")
    return Known(frozenset(lines), None if labels is None else (labels, text))


def put(client: DynamoDBClient, table: str, record: Record) -> bool:
    """Write a record unless it is there already; False if it was.

    Raises:
        RecordError: it cannot be an item.
    """
    item = {name: _WRITE.serialize(value) for name, value in to_item(record).items()}
    try:
        client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(ImageKey)")
    except ClientError as error:
        if error.response["Error"].get("Code") == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _labels(value: object) -> tuple[Label, ...] | None:
    try:
        return labels_from(value)
    except RecordError:
        return None  # somebody else's attribute: analyse the picture
