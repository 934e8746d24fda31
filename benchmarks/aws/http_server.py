"""HTTP/1.1 in one thread, for stand-ins that must cost next to nothing beside what is measured against them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

MAX_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Request:
    """What came; names of headers are in lower case, `head` is all before the body as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    head: bytes


@dataclass(frozen=True)
class Answer:
    """What goes back. `length` is that of the body of which HEAD tells, None = that of `body`."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


Handler = Callable[[Request], Awaitable[Answer]]


async def listen(handler: Handler) -> tuple[asyncio.Server, str]:
    """A server on a free port of loopback, and its address."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader, writer)) is not None:
                writer.write(_written(await handler(request)))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a client that was killed
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=MAX_HEAD_BYTES, backlog=1024)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length") or 0))
    return Request(method, target, headers, body, head)


def _written(answer: Answer) -> bytes:
    length = len(answer.body) if answer.length is None else answer.length
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
