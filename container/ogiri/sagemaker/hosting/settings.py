"""What the environment says about hosting."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ogiri.task import UserError

JSON = "application/json"
TEXT = "text/plain"
PRODUCED = (JSON, TEXT)
"""The media types that an answer can have."""

SECONDS_BEFORE_CALLER_GIVES_UP = 60  # a real-time or serverless endpoint's caller

LOG_LEVELS = {
    name: level
    for level, names in {
        logging.DEBUG: ("debug", "10"),
        logging.INFO: ("info", "20"),
        logging.WARNING: ("warning", "30"),
        logging.ERROR: ("error", "40"),
        logging.CRITICAL: ("critical", "50"),
    }.items()
    for name in names
}


@dataclass(frozen=True)
class Settings:
    """How this container hosts its model.

    Attributes:
        base_dir: the folder that is /opt/ml on SageMaker.
        port: where HTTP is spoken.
        max_payload_mb: largest request body, in units of 2**20 bytes.
        timeout_seconds: how long a request may take.
        max_concurrent_requests: requests answered at a time; more are refused with 503.
        log_level: of the logging module.
        default_accept: media type of an answer where the caller has no wish.
    """

    base_dir: Path = Path("/opt/ml")
    port: int = 8080
    max_payload_mb: int = 25
    timeout_seconds: int = SECONDS_BEFORE_CALLER_GIVES_UP - 5
    max_concurrent_requests: int = 64
    log_level: int = logging.INFO
    default_accept: str = JSON

    @property
    def model_dir(self) -> Path:
        """The folder of the artifact."""
        return self.base_dir / "model"

    @property
    def max_payload_bytes(self) -> int:
        """Largest request body in bytes."""
        return self.max_payload_mb * 2**20

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables; an empty one counts as not set.

        Raises:
            UserError: a value that cannot be taken; the message names the variable, the value and what is allowed.
        """
        timeout = _first(environ, "SAGEMAKER_MODEL_SERVER_TIMEOUT", "MODEL_SERVER_TIMEOUT")
        return cls(
            base_dir=Path(environ.get("SAGEMAKER_BASE_DIR") or cls.base_dir).absolute(),
            port=_whole_number(environ, "SAGEMAKER_BIND_TO_PORT", cls.port, maximum=65535),
            max_payload_mb=_whole_number(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", cls.max_payload_mb, maximum=1024),
            timeout_seconds=_whole_number(environ, timeout, cls.timeout_seconds, maximum=3600),
            max_concurrent_requests=_whole_number(
                environ, "OGIRI_MAX_CONCURRENT_REQUESTS", cls.max_concurrent_requests, maximum=512
            ),
            log_level=_log_level(environ, "SAGEMAKER_CONTAINER_LOG_LEVEL", cls.log_level),
            default_accept=_media_type(environ, "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", cls.default_accept),
        )


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((name for name in names if environ.get(name)), names[0])


def _whole_number(environ: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= maximum):
        raise _refused(name, text, f"a whole number from 1 to {maximum}")
    return int(text)


def _log_level(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if text.lower() not in LOG_LEVELS:
        raise _refused(name, text, "one of " + ", ".join(LOG_LEVELS))
    return LOG_LEVELS[text.lower()]


def _media_type(environ: Mapping[str, str], name: str, default: str) -> str:
    text = environ.get(name, "").strip()
    media_type = text.partition(";")[0].strip().lower() or default
    if media_type == "*/*":
        return default
    if media_type not in PRODUCED:
        raise _refused(name, text, "one of " + ", ".join(PRODUCED))
    return media_type


def _refused(name: str, value: str, allowed: str) -> UserError:
    shown = value if len(value) <= 80 else value[:77] + "..."
    return UserError(f"{name} is {shown!r}: it must be {allowed}")
