"""Hands a request on to another server, and its answer back."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

from benchmarks.aws.http_server import Answer, Request

_DROPPED = ("connection", "content-length", "transfer-encoding", "date", "server")
_FIRST_LINE = re.compile(rb" HTTP/1\.1\r\n")
_EXPECT = re.compile(rb"\r\nExpect:[^\r]*", re.IGNORECASE)


class Forward:
    """To the server at `url`, on a connection for each request: HTTP/1.0 ends the answer with the connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname, place.port

    async def answer(self, request: Request) -> Answer:
        """What the other server says."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            head = _EXPECT.sub(b"", _FIRST_LINE.sub(b" HTTP/1.0\r\n", request.head, count=1))
            writer.write(head + request.body)
            found = await reader.read()
        finally:
            writer.close()
        first, _, body = found.partition(b"\r\n\r\n")
        status, *lines = first.decode("latin-1").split("\r\n")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = next((int(value) for name, value in pairs if name.lower() == "content-length"), None)
        headers = {name: value for name, value in pairs if name.lower() not in _DROPPED}
        return Answer(int(status.split(" ")[1]), body, headers, length if request.method == "HEAD" else None)
