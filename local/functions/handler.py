"""One instance of a function: a process that answers one event after the other, as a Lambda's does.

python -m local.functions.handler --port 9001 prepare.lambda_handler

It speaks as AWS's Runtime Interface Emulator does, so that either can run a function (`runtime.py`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from local.aws import REGION
from local.sagemaker.shelf import ACCOUNT

Handler = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Context:
    """What Lambda hands to a handler beside the event."""

    function_name: str = field(default_factory=lambda: os.environ["AWS_LAMBDA_FUNCTION_NAME"])
    memory_limit_in_mb: int = field(default_factory=lambda: int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]))
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline: float = field(default_factory=lambda: time.monotonic() + float(os.environ["AWS_LAMBDA_FUNCTION_TIMEOUT"]))

    @property
    def invoked_function_arn(self) -> str:
        """Of nobody's account."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Until the function is ended."""
        return max(0, int(1000 * (self.deadline - time.monotonic())))


def answer(handler: Handler, event: bytes) -> bytes:
    """What the handler returns, or what Lambda says of the exception that it raises."""
    context = Context()
    try:
        return json.dumps(handler(json.loads(event), context), ensure_ascii=False).encode()
    except Exception as error:
        traceback.print_exc()
        told = {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "requestId": context.aws_request_id,
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
        return json.dumps(told, ensure_ascii=False).encode()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m local.functions.handler", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("handler", metavar="MODULE.FUNCTION", help="below this folder")
    options = parser.parse_args()
    module, _, name = options.handler.rpartition(".")
    sys.path.insert(0, os.getcwd())
    handler: Handler = getattr(importlib.import_module(module), name)

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = answer(handler, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """The log is the function's own."""

    HTTPServer(("127.0.0.1", options.port), Requests).serve_forever()


if __name__ == "__main__":
    main()
