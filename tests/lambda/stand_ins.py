"""A web of pictures and a Rekognition, both real HTTP servers on loopback."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from PIL import Image


def picture(size=(120, 90), color="orange", format="JPEG", mode="RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, format, **options)
    return buffer.getvalue()


@dataclass
class Web:
    """Pages by path; `requests` counts what was asked for."""

    pages: dict = field(default_factory=dict)
    requests: Counter = field(default_factory=Counter)
    url: str = ""

    def add(self, path: str, body=b"", status: int = 200, content_type: str = "image/jpeg", **headers: str) -> str:
        self.pages[path] = (status, content_type, body, headers)
        return self.url + path


@dataclass
class Rekognition:
    """As strict as the real one; `calls` counts operations, `images` holds what came with DetectLabels."""

    labels: list = field(default_factory=lambda: [{"Name": "Cat", "Confidence": 98.76543}])
    texts: list = field(default_factory=list)
    failures: list = field(default_factory=list)  # error types, each answered once
    moderation: list = field(default_factory=list)
    calls: Counter = field(default_factory=Counter)
    parameters: dict = field(default_factory=dict)
    images: list = field(default_factory=list)
    url: str = ""

    def answer(self, operation: str, body: dict) -> tuple[int, dict]:
        self.calls[operation] += 1
        if self.failures:
            return 400, {"__type": self.failures.pop(0), "message": "as the test wants it"}
        data = base64.b64decode(body["Image"]["Bytes"])
        if not data.startswith((b"\xff\xd8", b"\x89PNG")):
            return 400, {"__type": "InvalidImageFormatException", "message": "Request has invalid image format"}
        with Image.open(io.BytesIO(data)) as image:
            if min(image.size) < 80 or max(image.size) > 10_000 or len(data) > 5 * 1024 * 1024:
                return 400, {"__type": "InvalidParameterException", "message": f"{image.size}, {len(data)} bytes"}
        if operation == "DetectModerationLabels":
            found = [label for label in self.moderation if label["Confidence"] >= body["MinConfidence"]]
            return 200, {"ModerationLabels": found}
        if operation == "DetectText":
            return 200, {"TextDetections": self.texts}
        self.images.append(data)
        self.parameters = body
        return 200, {"Labels": self.labels}


def web_handler(web: Web) -> type:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            web.requests[self.path] += 1
            status, content_type, body, headers = web.pages.get(self.path, (404, "text/html", b"nothing here", {}))
            if callable(body):
                body(self)
                return
            self.send_response(status)
            for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def answer_with(
    handler: BaseHTTPRequestHandler, status: int, data: bytes, kind: str = "application/x-amz-json-1.1"
) -> None:
    """As AWS's JSON services answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def rekognition_handler(rekognition: Rekognition) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = rekognition.answer(self.headers["X-Amz-Target"].rpartition(".")[2], body)
            answer_with(self, status, json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def serving(handler: type, host: str = "127.0.0.1"):
    server = ThreadingHTTPServer((host, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class BusyDynamoDB:
    """Hands everything on to the embedded one, but refuses so many writes first."""

    target: str
    refusals: int = 0
    url: str = ""


def busy_handler(front: BusyDynamoDB) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["X-Amz-Target"].endswith(".PutItem") and front.refusals:
                front.refusals -= 1
                prefix = "com.amazonaws.dynamodb.v20120810#"
                status, data = 400, json.dumps({"__type": prefix + "ProvisionedThroughputExceededException"}).encode()
            else:
                answer = requests.post(front.target, data=body, headers=dict(self.headers), timeout=30)
                status, data = answer.status_code, answer.content
            answer_with(self, status, data, "application/x-amz-json-1.0")

        def log_message(self, *_):
            pass

    return Handler


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A body that never ends and never stalls for long."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b"\xff" * 16)
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Headers, then silence."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    time.sleep(1)


def flood(handler: BaseHTTPRequestHandler) -> None:
    """A large body that does not say how large it is."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(1000):
            handler.wfile.write(b"\xff" * 65536)
    except OSError:
        pass
