"""Answers DynamoDB's `Scan` from prepared pages, over HTTP, and misbehaves where it is asked to.

    python -m benchmarks.training.responder FOLDER          answers from the pages in FOLDER, prints its address

It checks no signature, and sends each page as the bytes that were prepared, so that it is no bottleneck of what is
measured against it: a core of it gives hundreds of pages a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE_BYTES = 1_000_000  # of JSON; DynamoDB counts a little less for the same items
THROTTLED = "ProvisionedThroughputExceededException"
KINDS = ("throttle", "error", "drop", "cut", "corrupt", "garbage", "slow")
_BODIES, _INDEX = "pages.json", "index.json"

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong.

    Attributes:
        shares: how likely each of `KINDS` is for a request: the table throttles, fails with 500, the connection is
            dropped before the answer, or in the middle of it, a byte of it is wrong, it is no page, it comes late.
        seed: for the drawing.
        begins_after: so many pages come without any.
        lost_after: after so many pages every request has the trouble `lost_by`; None = never.
        slow_seconds: how late a slow answer is.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    begins_after: int = 0
    lost_after: int | None = None
    lost_by: str = "drop"
    slow_seconds: float = 0.3


def prepare(folder: Path, segments: Iterable[Iterable[str]], page_bytes: int = PAGE_BYTES) -> None:
    """Write pages.

    Args:
        folder: for the pages.
        segments: typed items of each segment, as JSON.
        page_bytes: of a page.
    """
    index: list[list[list[int]]] = []
    with (folder / _BODIES).open("wb") as file:
        for items in segments:
            pages: list[list[int]] = []
            for number, (some, last) in enumerate(_paged(items, page_bytes)):
                after = "" if last else f',"LastEvaluatedKey":{json.dumps(_key(number))}'
                count = f'"Count":{len(some)},"ScannedCount":{len(some)}'
                body = f'{{{count},"Items":[{",".join(some)}]{after}}}'.encode()
                pages.append([file.tell(), len(body), zlib.crc32(body)])
                file.write(body)
            index.append(pages)
    (folder / _INDEX).write_text(json.dumps(index))


@contextmanager
def responding(folder: Path, trouble: Trouble | None = None) -> Iterator[Responder]:
    """A responder in threads of this process."""
    with Responder(folder, trouble or Trouble()) as responder:
        thread = threading.Thread(target=responder.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield responder
        finally:
            responder.shutdown()
            thread.join()


class Responder(ThreadingHTTPServer):
    """Listens on a free port; see the module's text."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, trouble: Trouble) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.trouble = trouble
        self.pages: list[list[list[int]]] = json.loads((folder / _INDEX).read_text())
        self.bodies = os.open(folder / _BODIES, os.O_RDONLY)
        self.counts: dict[str, int] = {}
        self._random = random.Random(trouble.seed)  # noqa: S311
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}"

    def server_close(self) -> None:
        super().server_close()
        os.close(self.bodies)

    def fate(self) -> str:
        """What happens to a request: `page`, or one of `KINDS`."""
        with self._lock:
            pages, lost_after = self.counts.get("page", 0), self.trouble.lost_after
            if lost_after is not None and pages >= lost_after:
                kind = self.trouble.lost_by
            else:
                kind = self._drawn() if pages >= self.trouble.begins_after else "page"
            self.counts[kind] = self.counts.get(kind, 0) + 1
            return kind

    def _drawn(self) -> str:
        point = self._random.random()
        for kind, share in self.trouble.shares.items():
            point -= share
            if point < 0:
                return kind
        return "page"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Responder

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fate = self.server.fate()
        if self.headers["X-Amz-Target"] != "DynamoDB_20120810.Scan":
            self._refuse(400, "ValidationException")
        elif fate == "throttle":
            self._refuse(400, THROTTLED)
        elif fate == "error":
            self._refuse(500, "InternalServerError")
        elif fate == "drop":
            self.close_connection = True
        elif fate == "garbage":
            self._send(200, b"<html>a proxy's page</html>")
        else:
            if fate == "slow":
                time.sleep(self.server.trouble.slow_seconds)
            self._send_page(request, fate)

    def _send_page(self, request: Mapping[str, Any], fate: str) -> None:
        pages = self.server.pages[request["Segment"]]
        assert request["TotalSegments"] == len(self.server.pages), "prepared for another number of segments"
        start = request.get("ExclusiveStartKey")
        offset, length, checksum = pages[int(start["ImageKey"]["S"]) + 1 if start else 0]
        self._head(200, length, checksum + (fate == "corrupt"))
        self.wfile.flush()
        sent, wanted = 0, length // 2 if fate == "cut" else length
        while sent < wanted:
            sent += os.sendfile(self.connection.fileno(), self.server.bodies, offset + sent, wanted - sent)
        self.close_connection = fate == "cut"

    def _refuse(self, status: int, code: str) -> None:
        kind = f"com.amazonaws.dynamodb.v20120810#{code}"
        self._send(status, json.dumps({"__type": kind, "message": "as it was asked to"}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self._head(status, len(body), zlib.crc32(body))
        self.wfile.write(body)

    def _head(self, status: int, length: int, checksum: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(length))
        self.send_header("x-amz-crc32", str(checksum))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _key(page: int) -> Item:
    """What says that a scan has come to the end of a page."""
    return {"ImageKey": {"S": str(page)}, "ExpectedResult": {"S": "-"}}


def _paged(items: Iterable[str], page_bytes: int) -> Iterator[tuple[list[str], bool]]:
    """Items of about `page_bytes` together, and whether these are the last; always at least one page."""
    some: list[str] = []
    size = 0
    for item in items:
        if size >= page_bytes:
            yield some, False
            some, size = [], 0
        some.append(item)
        size += len(item.encode())
    yield some, True


def main() -> None:
    """Answer until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    with Responder(parser.parse_args().folder, Trouble()) as responder:
        print(responder.url, flush=True)
        responder.serve_forever()


if __name__ == "__main__":
    main()
