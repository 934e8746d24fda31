"""Both APIs behind one address: awsJson1_1 for `sagemaker`, REST for `sagemaker-runtime`."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.sagemaker.asynchronous import Asynchronous
from local.sagemaker.control import Control
from local.sagemaker.refusal import Refusal
from local.sagemaker.runtime import Runtime

TARGET = "SageMaker."
JSON = "application/x-amz-json-1.1"

_INVOCATIONS = re.compile(r"/endpoints/([^/?]+)/(invocations|invocations-response-stream|async-invocations)")

_log = logging.getLogger(__name__)


class SageMakerServer(ThreadingHTTPServer):
    """Listens on loopback; a thread a connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, control: Control, runtime: Runtime, asynchronous: Asynchronous) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.control = control
        self.runtime = runtime
        self.asynchronous = asynchronous

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL_SAGEMAKER and AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SageMakerServer

    def do_POST(self) -> None:
        """Any operation of either API."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._answer(body)
        except Refusal as error:
            self._refuse(error)
        except Exception as error:
            _log.exception("%s", self.path)
            self._refuse(Refusal("InternalFailure", f"{type(error).__name__}: {error}", 500))

    def _answer(self, body: bytes) -> None:
        called = _INVOCATIONS.fullmatch(self.path)
        if called is not None:
            self._invoke(called.group(1), called.group(2), body)
            return
        target = self.headers.get("X-Amz-Target", "")
        if not target.startswith(TARGET):
            raise Refusal("UnknownOperationException", f"{self.path} is no operation of SageMaker", 404)
        answer = self.server.control.answer(target.removeprefix(TARGET), body)
        self._send(200, json.dumps(answer).encode(), {"Content-Type": JSON})

    def _invoke(self, endpoint: str, how: str, body: bytes) -> None:
        if how == "invocations-response-stream":
            with self.server.runtime.stream(endpoint, self.headers, body) as (headers, messages):
                self._send_stream(headers, messages)
        elif how == "async-invocations":
            reply = self.server.asynchronous.invoke(endpoint, self.headers)
            self._send(202, reply.body, reply.headers)
        else:
            reply = self.server.runtime.invoke(endpoint, self.headers, body)
            self._send(200, reply.body, reply.headers)

    def _refuse(self, error: Refusal) -> None:
        body = {"__type": error.code, "message": str(error), "Message": str(error), **error.fields}
        self._send(error.status, json.dumps(body).encode(), {"Content-Type": JSON, "x-amzn-ErrorType": error.code})

    def _send(self, status: int, data: bytes, headers: Mapping[str, Any]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.end_headers()
        self.wfile.write(data)

    def _send_stream(self, headers: Mapping[str, str], messages: Iterable[bytes]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Transfer-Encoding": "chunked", "x-amzn-RequestId": str(uuid.uuid4())}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for message in messages:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(message), message))
            self.wfile.write(b"0\r\n\r\n")
        except ConnectionError:
            self.close_connection = True  # the caller has gone: the model hears of it, for its connection ends too

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Answers are not logged, only failures are."""
