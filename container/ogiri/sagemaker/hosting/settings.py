"""What the environment says about hosting."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ogiri.task import UserError

JSON = "application/json"
TEXT = "text/plain"
JSON_LINES = "application/jsonlines"
EVENT_STREAM = "text/event-stream"
FORM = "multipart/form-data"
PRODUCED = (JSON, TEXT, JSON_LINES, EVENT_STREAM)
"""The media types that an answer can have."""

SECONDS_BEFORE_CALLER_GIVES_UP = 60  # a real-time or serverless endpoint's caller
SECONDS_BEFORE_BATCH_GIVES_UP = 3600  # batch transform and asynchronous inference, at most
SECONDS_TO_SPARE = 5  # the caller is to get the answer that there is none in time
MAX_BATCH_MB = 100
"""Batch transform sends no larger body, and no more than this in all its requests at a time."""
EMF = "emf"  # CloudWatch's embedded metric format

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
        batch: whether this is a batch transform job.
        metrics: print metrics for CloudWatch, every `metrics_seconds`.
        log_level: of the logging module.
        default_accept: media type of an answer where the caller has no wish, if the environment names one.
        multi_model: load and unload models as SageMaker says, instead of the one in `model_dir`.
        model_memory_mb: what the models of a multi-model endpoint may take, in units of 2**20 bytes; None for what the
            container has.
    """

    base_dir: Path = Path("/opt/ml")
    port: int = 8080
    max_payload_mb: int = 25
    timeout_seconds: int = SECONDS_BEFORE_CALLER_GIVES_UP - SECONDS_TO_SPARE
    max_concurrent_requests: int = 64
    log_level: int = logging.INFO
    default_accept: str | None = None
    multi_model: bool = False
    model_memory_mb: int | None = None
    batch: bool = False
    metrics: bool = False
    metrics_seconds: int = 60

    @property
    def model_dir(self) -> Path:
        """The folder of the artifact."""
        return self.base_dir / "model"

    @property
    def max_payload_bytes(self) -> int:
        """Largest request body in bytes."""
        return self.max_payload_mb * 2**20

    @property
    def batch_payload_mb(self) -> int:
        """Largest request body of a batch transform job, in units of 2**20 bytes."""
        return min(self.max_payload_mb, MAX_BATCH_MB)

    @property
    def batch_requests(self) -> int:
        """Requests of a batch transform job at a time."""
        return min(self.max_concurrent_requests, MAX_BATCH_MB // self.batch_payload_mb)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables; an empty one counts as not set.

        Raises:
            UserError: a value that cannot be taken; the message names the variable, the value and what is allowed.
        """
        _check_port_range(environ, "SAGEMAKER_SAFE_PORT_RANGE")
        timeout = _first(environ, "SAGEMAKER_MODEL_SERVER_TIMEOUT", "MODEL_SERVER_TIMEOUT")
        batch = _yes_or_no(environ, "SAGEMAKER_BATCH", cls.batch)
        patience = SECONDS_BEFORE_BATCH_GIVES_UP if batch else SECONDS_BEFORE_CALLER_GIVES_UP
        return cls(
            base_dir=Path(environ.get("SAGEMAKER_BASE_DIR") or cls.base_dir).absolute(),
            port=_whole_number(environ, "SAGEMAKER_BIND_TO_PORT", cls.port, maximum=65535),
            max_payload_mb=_whole_number(environ, "SAGEMAKER_MAX_PAYLOAD_IN_MB", cls.max_payload_mb, maximum=1024),
            timeout_seconds=_whole_number(environ, timeout, patience - SECONDS_TO_SPARE, maximum=3600),
            max_concurrent_requests=_whole_number(
                environ, "OGIRI_MAX_CONCURRENT_REQUESTS", cls.max_concurrent_requests, maximum=512
            ),
            log_level=_log_level(environ, "SAGEMAKER_CONTAINER_LOG_LEVEL", cls.log_level),
            default_accept=_media_type(environ, "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", cls.default_accept),
            batch=batch,
            metrics=_choice(environ, "OGIRI_METRICS", EMF) == EMF,
            metrics_seconds=_whole_number(environ, "OGIRI_METRICS_SECONDS", cls.metrics_seconds, maximum=3600),
            multi_model=_yes_or_no(environ, "SAGEMAKER_MULTI_MODEL", cls.multi_model),
            model_memory_mb=_whole_number(environ, "OGIRI_MODEL_MEMORY_MB", 0, maximum=2**20) or None,
        )


def workers_warning(environ: Mapping[str, str]) -> str | None:
    """What to tell somebody who sets the number of workers, as other containers have it; None if it is one."""
    name = _first(environ, "SAGEMAKER_MODEL_SERVER_WORKERS", "MODEL_SERVER_WORKERS")
    number = environ.get(name, "").strip()
    if number in ("", "1"):
        return None
    return (
        f"{name} is {_shown(number)} and changes nothing: one process with many threads answers, so that the model is "
        "in memory once; OGIRI_MAX_CONCURRENT_REQUESTS is how many requests it answers at a time"
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


def _yes_or_no(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if text.lower() not in ("true", "false", "1", "0"):
        raise _refused(name, text, "true or false")
    return text.lower() in ("true", "1")


def _choice(environ: Mapping[str, str], name: str, *allowed: str) -> str | None:
    text = environ.get(name, "").strip()
    if text and text not in allowed:
        raise _refused(name, text, "one of " + ", ".join(allowed))
    return text or None


def _check_port_range(environ: Mapping[str, str], name: str) -> None:
    """Nothing here needs a port in that range, but a malformed one is a mistake that should be seen."""
    text = environ.get(name, "").strip()
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if text and not (match and 1 <= int(match[1]) <= int(match[2]) <= 65535):
        raise _refused(name, text, "two ports from 1 to 65535, 25000-25999 for example")


def _log_level(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if text.lower() not in LOG_LEVELS:
        raise _refused(name, text, "one of " + ", ".join(LOG_LEVELS))
    return LOG_LEVELS[text.lower()]


def _media_type(environ: Mapping[str, str], name: str, default: str | None) -> str | None:
    text = environ.get(name, "").strip()
    media_type = text.partition(";")[0].strip().lower()
    if media_type in ("", "*/*"):
        return default
    if media_type not in PRODUCED:
        raise _refused(name, text, "one of " + ", ".join(PRODUCED))
    return media_type


def _refused(name: str, value: str, allowed: str) -> UserError:
    return UserError(f"{name} is {_shown(value)}: it must be {allowed}")


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
