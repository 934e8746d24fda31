"""Rekognition with a quota: so many calls of each operation a second, and the error that AWS gives above it.

What it finds depends on the picture's bytes alone, so that two ways of asking must write the same records.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import Counter
from typing import Any

from benchmarks.aws.http_server import Answer, Request

TARGET = "RekognitionService."
THROTTLED = "ProvisionedThroughputExceededException"
LABELS = 5
_NAMES = ("Dog", "Cat", "Person", "Chair", "Tree", "Car", "Food", "Sky", "Sign", "Office", "Train", "Sea")


class Bucket:
    """A token bucket: `rate` calls a second, and those of one second saved up."""

    def __init__(self, rate: float) -> None:
        self._rate, self._tokens, self._seen = rate, rate, time.monotonic()

    def take(self) -> bool:
        """Whether a call is within the quota."""
        now = time.monotonic()
        self._tokens = min(self._rate, self._tokens + self._rate * (now - self._seen))
        self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Rekognition:
    """DetectLabels and DetectText; `analyses` counts the calls that were answered, by operation and picture."""

    def __init__(self, quota: float) -> None:
        self._buckets = {name: Bucket(quota) for name in ("DetectLabels", "DetectText")}
        self.analyses: dict[str, Counter[str]] = {name: Counter() for name in self._buckets}

    def within_quota(self, operation: str) -> bool:
        """Whether one more call of it may be answered now."""
        return self._buckets[operation].take()

    async def answer(self, request: Request) -> Answer:
        """What is to be seen, made up."""
        operation = request.headers["x-amz-target"].removeprefix(TARGET)
        picture = base64.b64decode(json.loads(request.body)["Image"]["Bytes"])
        seen = hashlib.sha256(picture).digest()
        self.analyses[operation][seen.hex()] += 1
        found = {"Labels": _labels(seen)} if operation == "DetectLabels" else {"TextDetections": _texts(seen)}
        return Answer(200, json.dumps(found).encode(), {"Content-Type": "application/x-amz-json-1.1"})


def _labels(seen: bytes) -> list[dict[str, Any]]:
    start = seen[0] % len(_NAMES)
    names = [_NAMES[(start + step) % len(_NAMES)] for step in range(LABELS)]
    return [{"Name": name, "Confidence": 99.5 - 10 * place - seen[1] / 256} for place, name in enumerate(names)]


def _texts(seen: bytes) -> list[dict[str, Any]]:
    return [{"DetectedText": f"No. {seen[2]}", "Type": "LINE"}] if seen[3] % 4 == 0 else []
