"""Handlers as Lambda calls them: loaded by their file, with a context and an environment."""

from __future__ import annotations

import importlib.util
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "lambda" / "functions"


@dataclass
class Context:
    """What Lambda hands to a handler beside the event."""

    function_name: str = "ogiri"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:ap-northeast-1:123456789012:function:ogiri"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    seconds: float = 600.0
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(1000 * (self.seconds - (time.monotonic() - self.started))))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"functions_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def object_created(bucket: str, key: str, version: str = "1", **entry: object) -> dict:
    """EventBridge's event of an uploaded file, as S3 sends it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": version,
                **entry,
            },
            "reason": "PutObject",
        },
    }
