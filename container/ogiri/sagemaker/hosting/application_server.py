"""gunicorn: one worker with threads, so that there is one copy of the model, and its settings."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from ogiri.artifact import ArtifactError
from ogiri.machine import return_freed_memory, return_large_blocks
from ogiri.sagemaker.hosting import memory
from ogiri.sagemaker.hosting.app import create_app
from ogiri.sagemaker.hosting.front import SOCKET
from ogiri.sagemaker.hosting.logs import JsonFormatter
from ogiri.sagemaker.hosting.metrics import Metrics
from ogiri.sagemaker.hosting.model import ModelHost, read_model
from ogiri.sagemaker.hosting.models import Models
from ogiri.sagemaker.hosting.multi_model import MAX_CHANGES
from ogiri.sagemaker.hosting.settings import Settings

SPARE_THREADS = 8
"""Threads beyond the requests that nginx lets through: `/ping` always finds one."""

SWITCH_SECONDS = 0.001
"""How long a thread may keep Python's lock from others: with the usual 5 ms `/ping` waits as long for each of them."""

NICENESS = 5
"""More, of threads that take requests, encode and answer, than of the one that decodes, which all lines wait for. With
all processors busy 16 callers then get 3 % more lines, and the slowest of a hundred 6 % earlier; with 10 it is 7 and
9 %, but `/ping` is answered after up to 230 ms beside a large decoder. A large encoder has threads of ONNX Runtime's
beside these, which are as the decoder's, and on a multi-model endpoint all threads are alike."""

HUNG_SECONDS = 120  # a worker whose main thread has not moved for so long is killed and started anew

logger = logging.getLogger(__name__)


def run(settings: Settings, folder: Path) -> None:
    """Serve on a socket in `folder`; ends with SystemExit, code 3 if the model cannot be loaded."""
    ApplicationServer(settings, folder).run()  # type: ignore[no-untyped-call]


class ApplicationServer(BaseApplication):
    """gunicorn with its settings, which come from nowhere else, and the application."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._warmed_up = folder / "warmed_up"
        self._host = ModelHost(lambda: read_model(settings.model_dir))
        self._models = _models(settings) if settings.multi_model else None
        self._metrics = Metrics() if settings.metrics else None
        super().__init__()  # type: ignore[no-untyped-call]

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        sys.setswitchinterval(SWITCH_SECONDS)
        config: Any = self.cfg
        values = {
            "bind": f"unix:{self._folder / SOCKET}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": self._settings.max_concurrent_requests + (MAX_CHANGES if self._models else 0) + SPARE_THREADS,
            "preload_app": True,  # a worker that has to be replaced need not import Flask again
            "timeout": HUNG_SECONDS,
            "graceful_timeout": 1,  # when gunicorn is told to stop, nginx has seen the last request through
            "keepalive": 0,
            "worker_tmp_dir": str(self._folder),
            "control_socket_disable": True,
            "logger_class": _GunicornLogger,
            "loglevel": logging.getLevelName(self._settings.log_level).lower(),
            # nginx has checked and bounded all of these.
            "limit_request_line": 0,
            "limit_request_field_size": 0,
            "limit_request_fields": 1000,
            "secure_scheme_headers": {},
            "pre_fork": self._before_worker,
            "post_worker_init": self._start_work,
            "worker_exit": self._end_work,
            "child_exit": self._give_up_unless_warmed_up,
        }
        for name, value in values.items():
            config.set(name, value)

    def load(self) -> Any:
        """The WSGI application, made before the worker is forked: it starts no thread and loads no model."""
        return create_app(self._settings, self._models or self._host, self._metrics)

    def _before_worker(self, _arbiter: Arbiter, _worker: Worker) -> None:
        self._warmed_up.unlink(missing_ok=True)
        return_freed_memory()
        gc.freeze()  # what is imported stays shared with the worker, whose collections would write to it: 12 MB

    def _start_work(self, _worker: Worker) -> None:
        if self._metrics:
            self._metrics.start(self._settings.metrics_seconds)
        self._start_loading()
        if not self._models:  # requests load those, and their decoding threads would be no better off
            _let_the_decoder_go_first()

    def _end_work(self, _arbiter: Arbiter, _worker: Worker) -> None:
        if self._metrics:
            self._metrics.end()

    def _start_loading(self) -> None:
        return_large_blocks()  # a model of 400 MB then takes 90 MB less once it is warm
        if self._models:
            logger.info("ready: models are loaded as they are asked for")
            return
        threading.Thread(target=self._load_model, name="load", daemon=True).start()

    def _load_model(self) -> None:
        try:
            self._host.load()
        except BaseException as error:
            self._report(error)
            os._exit(Arbiter.WORKER_BOOT_ERROR)  # of the process: gunicorn then ends, and does not try again
        self._warmed_up.touch()
        logger.info("ready: %s answers", self._host.predictor().name)

    def _report(self, error: BaseException) -> None:
        known = isinstance(error, ArtifactError)
        cause = str(error) if known else f"{type(error).__name__}: {error}"
        message = "the model in %s cannot be served: %s"
        logger.critical(message, self._settings.model_dir, cause, exc_info=None if known else error)

    def _give_up_unless_warmed_up(self, arbiter: Arbiter, _worker: Worker) -> None:
        stopping = not arbiter.LISTENERS
        if not (stopping or self._warmed_up.exists()):
            # It would die of the same cause again and again; or its successor would miss models that SageMaker loaded.
            reason = f"the worker died {'with the models in it' if self._models else 'while it loaded the model'}"
            raise HaltServer(reason, Arbiter.WORKER_BOOT_ERROR)  # type: ignore[no-untyped-call]


def _let_the_decoder_go_first() -> None:
    """Give this thread, and those that it starts from now on, less of a busy processor than the decoding one gets."""
    try:
        os.nice(NICENESS)  # of a thread, on Linux
    except OSError as error:
        logger.info("requests and the decoder have the same priority: %s", error)


def _models(settings: Settings) -> Models:
    megabytes = settings.model_memory_mb
    return Models(memory.ModelMemory(None if megabytes is None else megabytes * memory.MEGABYTE))


class _GunicornLogger(Logger):
    """gunicorn's own messages, in the form of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)  # type: ignore[no-untyped-call]
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())
