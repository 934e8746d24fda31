"""Everything outside the functions, in one process: picture servers, Rekognition, S3 and DynamoDB, all of them slow.

    python -m benchmarks.aws.outside PICTURES [--latency 0.05] [--forward URL]

The latency is waited here, after a call has come and before it is answered, as many at a time as come. S3 and DynamoDB
are in memory, or are those at `--forward`. `GET /counts` says what was asked for, `POST /counts` begins to count anew,
with another quota and other shares of calls that are refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.aws import rekognition, store
from benchmarks.aws.forward import Forward
from benchmarks.aws.http_server import Answer, Request, listen
from benchmarks.machine import ROOT
from local.process import running

PICTURES = "/pictures/"
COUNTS = "/counts"
UNLIMITED = 1e9  # calls a second
_ERRORS = {
    "rekognition": ("application/x-amz-json-1.1", rekognition.THROTTLED),
    "dynamodb": (store.DYNAMODB, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
}
_LISTENING = re.compile(r"^listening on (http://\S+)$", re.MULTILINE)


class Outside:
    """Answers late, counts, and refuses what it is told to refuse."""

    def __init__(self, pictures: Path, latency: float, forward: str | None) -> None:
        self._pictures = {path.name: path.read_bytes() for path in pictures.iterdir()}
        self._aws = Forward(forward) if forward else store.Store()
        self._latency = latency
        self._random = random.Random(0)  # noqa: S311
        self.begin(UNLIMITED, {})

    def begin(self, quota: float, throttle: Mapping[str, float]) -> None:
        """Count from 0.

        Args:
            quota: calls of each of Rekognition's operations that are answered in a second.
            throttle: `rekognition`, `dynamodb` → the share of its calls that are refused besides.
        """
        self.counts: Counter[str] = Counter()
        self._throttle = throttle
        self._rekognition = rekognition.Rekognition(quota)

    async def answer(self, request: Request) -> Answer:
        """The answer to any request."""
        if request.target == COUNTS:
            if request.method == "POST":
                self.begin(**json.loads(request.body))
            return Answer(200, json.dumps(self.counted()).encode())
        await asyncio.sleep(self._latency)
        if request.target.startswith(PICTURES):
            self.counts["pictures"] += 1
            self.counts["calls"] += 1
            found = self._pictures.get(request.target.removeprefix(PICTURES))
            return Answer(404) if found is None else Answer(200, found, {"Content-Type": "image/jpeg"})
        service, operation = _call(request)
        if self._refused(service, operation):
            self.counts[f"{service} throttled"] += 1
            kind, code = _ERRORS[service]
            told = json.dumps({"__type": code, "message": "Provisioned rate exceeded"})
            return Answer(400, told.encode(), {"Content-Type": kind})
        self.counts[operation] += 1
        self.counts["calls"] += 1
        return await (self._rekognition if service == "rekognition" else self._aws).answer(request)

    def counted(self) -> dict[str, Any]:
        """Calls, refusals, and how often a picture was analysed: `analysed` pictures, `most` times the most often."""
        analyses = self._rekognition.analyses.values()
        most = max((max(pictures.values(), default=0) for pictures in analyses), default=0)
        again = sum(count - 1 for pictures in analyses for count in pictures.values())
        analysed = max(len(pictures) for pictures in analyses)
        return {**self.counts, "analysed": analysed, "most": most, "again": again}

    def _refused(self, service: str, operation: str) -> bool:
        if self._random.random() < self._throttle.get(service, 0.0):
            return True
        return service == "rekognition" and not self._rekognition.within_quota(operation)


def _call(request: Request) -> tuple[str, str]:
    service, _, operation = request.headers.get("x-amz-target", "").rpartition(".")
    if not service:
        return "s3", request.method
    return ("dynamodb" if service.startswith("DynamoDB") else "rekognition"), operation


@contextmanager
def started(pictures: Path, *options: str) -> Iterator[str]:
    """The process, as long as a `with` block lasts; its address."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "outside.log"
        command = [sys.executable, "-m", "benchmarks.aws.outside", str(pictures), *options]
        place = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "container", ROOT / "lambda" / "layer")))}
        with running(command, log=log, ready=lambda: _address(log), environment={**os.environ, **place}) as url:
            yield url


def begin(url: str, quota: float = UNLIMITED, throttle: Mapping[str, float] | None = None) -> None:
    """Let the process at `url` count anew; see `Outside.begin`."""
    body = json.dumps({"quota": quota, "throttle": throttle or {}}).encode()
    urllib.request.urlopen(urllib.request.Request(url + COUNTS, body)).close()


def counts(url: str) -> dict[str, int]:
    """What the process at `url` has counted."""
    with urllib.request.urlopen(url + COUNTS) as answer:
        found: dict[str, int] = json.load(answer)
        return found


def _address(log: Path) -> str | None:
    found = _LISTENING.search(log.read_text())
    return found.group(1) if found else None


async def _serve(outside: Outside) -> None:
    server, url = await listen(outside.answer)
    print(f"listening on {url}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Answer until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--forward", help="S3 and DynamoDB are there")
    given = parser.parse_args()
    asyncio.run(_serve(Outside(given.pictures, given.latency, given.forward)))


if __name__ == "__main__":
    main()
