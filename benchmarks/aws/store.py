"""S3 and DynamoDB in memory, with the few operations that an ingest has: moto takes 5 to 15 ms of a processor a call.

The table keeps records by 4.1's keys and knows the one condition that is asked of it. Nothing is signed or checked; the
benchmark of faults and the tests have moto in this place.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from benchmarks.aws.http_server import Answer, Request

DYNAMODB = "application/x-amz-json-1.0"
TARGET = "DynamoDB_20120810."
NEW_ONLY = "attribute_not_exists(ImageKey)"

Item = dict[str, Any]


class Store:
    """Objects by bucket and key, items by table, ImageKey and ExpectedResult."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.tables: dict[str, dict[str, dict[str, Item]]] = {}

    async def answer(self, request: Request) -> Answer:
        """What S3 or DynamoDB would say."""
        target = request.headers.get("x-amz-target", "")
        if target.startswith(TARGET):
            return self._table(target.removeprefix(TARGET), json.loads(request.body))
        address = urlsplit(request.target)
        if request.method == "GET" and "list-type=2" in address.query:
            return self._listed(unquote(address.path), parse_qs(address.query)["prefix"][0])
        return self._object(request.method, unquote(address.path), request.body)

    def _listed(self, bucket: str, prefix: str) -> Answer:
        begin = f"{bucket.rstrip('/')}/"
        keys = sorted(name.removeprefix(begin) for name in self.objects if name.startswith(begin + prefix))
        entries = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        told = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        return Answer(200, told.encode(), {"Content-Type": "application/xml"})

    def _object(self, method: str, name: str, body: bytes) -> Answer:
        if method == "PUT":
            self.objects[name] = body
            return Answer(headers={"ETag": _etag(body)})
        found = self.objects.get(name)
        if found is None:
            told = b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
            return Answer(404, b"" if method == "HEAD" else told)
        headers = {"ETag": _etag(found)}
        return Answer(body=b"", headers=headers, length=len(found)) if method == "HEAD" else Answer(200, found, headers)

    def _table(self, operation: str, asked: Item) -> Answer:
        table = self.tables.setdefault(asked["TableName"], {})
        if operation == "Query":
            items = list(table.get(asked["ExpressionAttributeValues"][":key"]["S"], {}).values())
            return _json({"Items": items, "Count": len(items), "ScannedCount": len(items)})
        if operation == "PutItem":
            item = asked["Item"]
            lines, line = table.setdefault(item["ImageKey"]["S"], {}), item["ExpectedResult"]["S"]
            if asked.get("ConditionExpression") == NEW_ONLY and line in lines:
                return _json({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}, 400)
            lines[line] = item
            return _json({})
        if operation == "Scan":
            items = [item for lines in table.values() for item in lines.values()]
            return _json({"Items": items, "Count": len(items), "ScannedCount": len(items)})
        return _json({"__type": "com.amazonaws.dynamodb.v20120810#UnknownOperationException"}, 400)


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _json(value: Item, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value, ensure_ascii=False).encode(), {"Content-Type": DYNAMODB})
