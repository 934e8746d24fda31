"""A DynamoDB table, page by page: what botocore would spend on taking items apart is saved, and trouble is waited for.

A scan of a million records asks for a thousand pages. botocore repeats each request a few times by itself; where that
was not enough, the segment goes on from the last page it got, as long as the table answers again in time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoRegionError, ResponseStreamingError
from botocore.exceptions import ConnectionError as NetworkError

from ogiri.captioning.data.items import ATTRIBUTES
from ogiri.captioning.data.records import DataError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ATTEMPTS = 8  # of botocore for a page, $AWS_MAX_ATTEMPTS instead where it is set
CONNECT_SECONDS, READ_SECONDS = 10, 30
PATIENCE_SECONDS = 300.0  # without a page, then the table is lost
PAUSE_SECONDS = 1.0  # before a segment asks again, beside the pauses of botocore
WARN_SECONDS = 30.0  # between two warnings

_THROTTLED = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")
_SERVER_ERROR = 500

_log = logging.getLogger(__name__)


class _Page(msgspec.Struct):
    Items: list[msgspec.Raw]
    LastEvaluatedKey: msgspec.Raw = msgspec.Raw(b"null")


_PAGE = msgspec.json.Decoder(_Page)


class Table:
    """Reads the pages of a table, many segments at the same time."""

    def __init__(self, name: str, segments: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Args: name: of the table; segments: that will be read at the same time; patience_seconds: without a page.

        Raises:
            DataError: the environment names no region.
        """
        self._name, self._segments, self._patience_seconds = name, segments, patience_seconds
        self._client = _client(segments)
        self.place = f"DynamoDB table {name} in {self._client.meta.region_name} ({self._client.meta.endpoint_url})"
        self._answered = threading.Event()
        self._given_up = threading.Event()
        self._refusals, self._warned = 0, -WARN_SECONDS
        events = self._client.meta.events
        events.register("before-parse.dynamodb.Scan", _take_items)
        events.register("needs-retry.dynamodb.Scan", self._notice)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def give_up(self) -> None:
        """End all segments before their next page."""
        self._given_up.set()

    def pages(self, segment: int) -> Iterator[list[msgspec.Raw]]:
        """The typed items of a segment in JSON, a page at a time.

        Raises:
            ClientError, BotoCoreError: the table refuses to be read, or was not to be had for `patience_seconds`.
        """
        aliases = {f"#{index}": name for index, name in enumerate(ATTRIBUTES)}  # some are words of DynamoDB's own
        start: dict[str, Any] = {}
        while not self._given_up.is_set():
            page = self._page(
                TableName=self._name,
                Segment=segment,
                TotalSegments=self._segments,
                ConsistentRead=True,
                ProjectionExpression=", ".join(aliases),
                ExpressionAttributeNames=aliases,
                **start,
            )
            yield page["Items"]
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _page(self, **request: Any) -> Any:
        last = time.monotonic() + self._patience_seconds
        while True:
            try:
                page = self._client.scan(**request)
            except (ClientError, BotoCoreError) as error:
                if not self._may_pass(error) or time.monotonic() > last or self._given_up.wait(PAUSE_SECONDS):
                    raise
            else:
                self._answered.set()
                return page

    def _may_pass(self, error: ClientError | BotoCoreError) -> bool:
        """Whether to ask again. A table that never answered is out of reach, and no job should wait for it."""
        if isinstance(error, ClientError):
            return _is_refusal(error.response)
        if isinstance(error, NetworkError | HTTPClientError):
            return self._answered.is_set()
        return False

    def _notice(self, response: Any = None, caught_exception: Exception | None = None, **_: Any) -> None:
        """Tell of an answer that botocore is about to ask for again; called for every answer."""
        if caught_exception is None and (response is None or not _is_refusal(response[1])):
            return
        self._refusals += 1
        if time.monotonic() - self._warned > WARN_SECONDS:
            self._warned = time.monotonic()
            reason = caught_exception or response[1]["Error"].get("Code")
            counted = f"{self._refusals:,} requests were refused or lost so far"
            _log.warning("%s: %s; the scan waits and asks again (%s)", self.place, reason, counted)


def _is_refusal(response: Any) -> bool:
    """Whether a table that throttles or is in trouble said this."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= _SERVER_ERROR or response.get("Error", {}).get("Code") in _THROTTLED


def _take_items(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Take the items out of an answer as they are, and leave the rest of it to botocore.

    Its parser would walk through every value of every item, which takes far longer than reading the JSON does.
    """
    if response_dict["status_code"] != 200:
        return
    try:
        page = _PAGE.decode(response_dict["body"])
    except msgspec.MsgspecError as error:
        raise ResponseStreamingError(error=f"an answer is no page of a table ({error})") from error
    customized_response_dict["Items"] = page.Items
    response_dict["body"] = b'{"LastEvaluatedKey":%b}' % bytes(page.LastEvaluatedKey)


def _client(segments: int) -> DynamoDBClient:
    config = Config(
        retries={"mode": "adaptive", "total_max_attempts": int(os.environ.get("AWS_MAX_ATTEMPTS") or ATTEMPTS)},
        max_pool_connections=segments,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
    )
    session = boto3.Session()
    region = session.region_name or os.environ.get("AWS_REGION")  # SageMaker sets this one, boto3 reads the other
    try:
        return session.client("dynamodb", region_name=region, config=config)
    except NoRegionError as error:
        raise DataError("no AWS region is set: set AWS_DEFAULT_REGION to the region of the table") from error
