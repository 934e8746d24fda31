"""The answers of the API, kept for a while with the stars that people gave them.

One item an answer: `ResultId`, `Status` (`pending` | `done` | `failed`), `ImageKey` (file name of the picture below
`captioned/` in the bucket, where pictures are kept), `Captions` (list of `Text`, `Score`, `Votes`, `Stars`), `Model`,
`Message` of a failure, `OutputLocation` and `FailureLocation` of a pending one, `CreatedAt` and `ExpiresAt` in seconds
since 1970; DynamoDB deletes by the last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CAPTIONED_PREFIX = "captioned/"  # of pictures that got an answer
REQUESTS_PREFIX = "requests/"  # of pictures that wait for an asynchronous endpoint

_READ = TypeDeserializer()
_WRITE = TypeSerializer()


@dataclass(frozen=True)
class Results:
    """The table of answers.

    Attributes:
        client: of DynamoDB.
        table: its name.
        days: that an answer is kept.
    """

    client: DynamoDBClient
    table: str
    days: int

    def put_done(self, key: str, answer: Mapping[str, Any], image_key: str) -> None:
        """Keep the endpoint's answer."""
        captions, model = _captions(answer["captions"]), answer.get("model", "")
        self._put(key, image_key, {"Status": "done", "Captions": captions, "Model": model})

    def put_failed(self, key: str, message: str, image_key: str) -> None:
        """Keep why there is none."""
        self._put(key, image_key, {"Status": "failed", "Message": message})

    def put_pending(self, key: str, output: str, failure: str, image_key: str) -> None:
        """Keep where an asynchronous answer will be."""
        self._put(key, image_key, {"Status": "pending", "OutputLocation": output, "FailureLocation": failure})

    def get(self, key: str) -> dict[str, Any] | None:
        """An answer; None when there is none, or none any more."""
        item = self.client.get_item(TableName=self.table, Key={"ResultId": {"S": key}}, ConsistentRead=True).get("Item")
        values = {name: _READ.deserialize(value) for name, value in (item or {}).items()}
        if "Status" not in values or values["ExpiresAt"] < time.time():  # DynamoDB deletes within days, not at once
            return None
        return values

    def score(self, key: str, caption: int, stars: float) -> bool:
        """Add somebody's stars for a caption; False when there is no such answer or caption."""
        place = f"Captions[{caption}]"
        value = _WRITE.serialize(Decimal(str(stars)))
        try:
            self.client.update_item(
                TableName=self.table,
                Key={"ResultId": {"S": key}},
                UpdateExpression=f"SET {place}.Votes = {place}.Votes + :one, {place}.Stars = {place}.Stars + :stars",
                ConditionExpression=f"attribute_exists({place}.Votes) AND ExpiresAt >= :now",
                ExpressionAttributeValues={
                    ":one": {"N": "1"},
                    ":stars": value,
                    ":now": {"N": str(int(time.time()))},
                },
            )
        except ClientError as error:
            if error.response["Error"].get("Code") == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _put(self, key: str, image_key: str, values: Mapping[str, Any]) -> None:
        now = int(time.time())
        item = {
            "ResultId": key,
            "ImageKey": image_key,
            "CreatedAt": now,
            "ExpiresAt": now + self.days * 24 * 3600,
            **values,
        }
        serialized = {name: _WRITE.serialize(value) for name, value in item.items()}
        self.client.put_item(TableName=self.table, Item=serialized)


def public(key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller sees of an answer."""
    shown: dict[str, Any] = {"id": key, "status": values["Status"]}
    if "Captions" in values:
        shown |= {"captions": [_shown(caption) for caption in values["Captions"]], "model": values.get("Model", "")}
    return shown


def _shown(caption: Mapping[str, Any]) -> dict[str, Any]:
    votes = int(caption["Votes"])
    shown: dict[str, Any] = {"text": caption["Text"], "score": float(caption["Score"]), "votes": votes}
    return shown | ({"stars": round(float(caption["Stars"]) / votes, 2)} if votes else {})


def _captions(captions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    plain = json.loads(json.dumps(captions), parse_float=Decimal)  # DynamoDB takes no float
    return [{"Text": caption["text"], "Score": caption.get("score", 0), "Votes": 0, "Stars": 0} for caption in plain]
