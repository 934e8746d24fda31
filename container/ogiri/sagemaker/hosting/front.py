"""nginx, the server in front: its configuration, its command, its log."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from ogiri.sagemaker.hosting.metrics import NO_MODEL, Metrics
from ogiri.sagemaker.hosting.settings import Settings
from ogiri.task import UserError

TEMPLATE = Path(__file__).resolve().parents[3] / "nginx.conf"
SOCKET = "gunicorn.sock"
SECONDS_BEYOND_DEADLINE = 4  # a predictor sees its deadline between two steps, not at once

logger = logging.getLogger(__name__)

_FOR_A_MODEL = re.compile(r"/invocations|/models/.+/invoke")
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_ERROR_LINE = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+: (.*)")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "notice": logging.INFO, "warn": logging.WARNING}


def command(settings: Settings, folder: Path) -> list[str]:
    """Write nginx's configuration into `folder`, and return what starts it.

    Raises:
        UserError: there is no nginx, or the port cannot be had.
    """
    program = shutil.which("nginx")
    if program is None:
        raise UserError("nginx is not on PATH: install it, it is the server in front of the model")
    _require(settings.port)
    configuration = folder / "nginx.conf"
    configuration.write_text(_fill(TEMPLATE.read_text(encoding="utf-8"), _values(settings, folder)), encoding="utf-8")
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(configuration)]


def _require(port: int) -> None:
    """Find out at once, and in one line, what nginx would try for seconds."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - where nginx listens
        except OSError as error:
            raise UserError(
                f"port {port} cannot be listened on ({error.strerror}): set SAGEMAKER_BIND_TO_PORT to another one"
            ) from error


def _values(settings: Settings, folder: Path) -> Mapping[str, object]:
    return {
        # nginx gives its workers to another user if it is root, and that user could not use the folder.
        "user": "user root;" if os.geteuid() == 0 else "",
        "folder": folder,
        "port": settings.port,
        "max_payload_mb": settings.max_payload_mb,
        "max_body_mb": settings.max_payload_mb + 1,
        "max_concurrent_requests": settings.max_concurrent_requests,
        "read_timeout_seconds": settings.timeout_seconds + SECONDS_BEYOND_DEADLINE,
    }


def _fill(template: str, values: Mapping[str, object]) -> str:
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


def log(line: str, metrics: Metrics | None = None) -> None:
    """Put a line that nginx wrote into the log: an error message, or one of its own answers in `log_format own`.

    Args:
        line: without its end.
        metrics: what counts these answers; whatever nginx answers by itself is an error.
    """
    if match := _ERROR_LINE.fullmatch(line):
        logger.log(_LEVELS.get(match[1], logging.ERROR), "nginx: %s", match[2])
        return
    try:
        _log_answer(json.loads(line), metrics)
    except (ValueError, KeyError, TypeError):  # anything else: what it says while it reads its configuration
        logger.error("%s", line)


def _log_answer(entry: dict[str, str], metrics: Metrics | None) -> None:
    status = int(entry["status"])
    method, _, rest = entry["request"].partition(" ")
    path = rest.rpartition(" ")[0]
    milliseconds = round(float(entry["seconds"]) * 1000)
    fields = {
        "request_id": entry["request_id"],
        "method": method,
        "path": path,
        "status": status,
        "milliseconds": milliseconds,
    }
    if metrics and _FOR_A_MODEL.fullmatch(path.partition("?")[0]):
        metrics.count(NO_MODEL, status, failed=True, milliseconds=milliseconds)
    logger.warning("%s %s: %d, by nginx", method, path, status, extra={"fields": fields})
