"""A training job as a run on an MLflow tracking server, SageMaker's own (an ARN) or another (http, file).

A server that does not answer costs a warning and nothing else: a thread talks to it, and training never waits.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_EXPERIMENT = "ogiri"
RUN_FILE = "mlflow_run.json"  # in the folder of checkpoints: a restarted job goes on with its run
END_SECONDS, STOP_SECONDS = 60.0, 15.0  # that a job waits for the server at its end; when it was asked to stop
MAX_ERROR_CHARACTERS = 300

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",  # the log is ours
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # whoever names a `file:` server wants one
}
"""MLflow's own, unless the environment has others: by default it tries for minutes, and reports to its makers."""

REFUSALS = {"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST"}
"""What a server answers to something that it will not take another time either."""

Call = Callable[[Any, str], None]
"""Something to do with a client and the identifier of the run."""

_log = logging.getLogger(__name__)


class TrackedRun:
    """One run: parameters and tags at its start, metrics as they come, files and status at its end.

    What the server does not take is kept and sent again with what comes next.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        parameters: Mapping[str, Any],
        tags: Mapping[str, str],
        files: Sequence[Path],
        checkpoints: Path,
    ) -> None:
        """Begin the run.

        Args:
            uri: of the tracking server, $MLFLOW_TRACKING_URI.
            name: of the run, which is that of the job.
            parameters: hyperparameters.
            tags: of the run.
            files: kept with the run when it ends, those that exist.
            checkpoints: a folder that survives a restart.
        """
        self._uri = uri
        self._name = name
        self._tags = dict(tags)
        self._files = files
        self._run_file = checkpoints / RUN_FILE
        self._opened: tuple[Any, str] | None = None
        self._warned = False
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()
        self._calls.put(functools.partial(_log_parameters, parameters=parameters))

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Send the metrics of one event."""
        self._calls.put(functools.partial(_log_metrics, step=step, values=values, milliseconds=int(time.time() * 1000)))

    def close(self, status: str, reason: str) -> None:
        """Send files and status, and wait a while for the server to have everything."""
        files = [path for path in self._files if path.is_file()]
        self._calls.put(functools.partial(_end, status=status, reason=reason, files=files))
        self._calls.put(None)
        seconds = STOP_SECONDS if status == "KILLED" else END_SECONDS
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.warning("MLflow at %s has not taken everything within %g s: the rest is lost", self.shown_uri, seconds)

    @property
    def shown_uri(self) -> str:
        """The URI without name and password."""
        login, at, _ = urlsplit(self._uri).netloc.rpartition("@")
        return self._uri.replace(login + at, "", 1) if at else self._uri

    def _work(self) -> None:
        waiting: deque[Call] = deque()
        for call in iter(self._calls.get, None):
            waiting.append(call)
            try:
                self._opened = self._opened or self._open()
                while waiting:
                    self._send(waiting[0], *self._opened)
                    waiting.popleft()
            except Exception as error:
                self._warn(error)

    def _send(self, call: Call, client: Any, run_id: str) -> None:
        try:
            call(client, run_id)
        except Exception as error:
            if getattr(error, "error_code", None) not in REFUSALS:
                raise
            self._warn(error)

    def _open(self) -> tuple[Any, str]:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        if not self._uri.startswith("arn:"):
            # sagemaker-mlflow looks for an ARN in every address, and says with every request that there is none
            logging.getLogger("mlflow.tracking.request_header.registry").setLevel(logging.ERROR)
        from mlflow import MlflowClient

        client = MlflowClient(self._uri)
        experiment = _experiment(client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT)
        run_id = self._earlier_run(client)
        if run_id is None:
            run_id = client.create_run(experiment, run_name=self._name, tags=self._tags).info.run_id
            self._run_file.write_text(json.dumps({**self._key(), "run_id": run_id}), encoding="utf-8")
        return client, run_id

    def _earlier_run(self, client: Any) -> str | None:
        """The run that this job began before it was restarted, which then goes on."""
        from mlflow.exceptions import MlflowException

        try:
            kept = json.loads(self._run_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        run_id = str(kept.pop("run_id", ""))
        if kept != self._key():
            return None
        try:
            client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run_id

    def _key(self) -> dict[str, str]:
        return {"uri": self.shown_uri, "job": self._name}

    def _warn(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        said = " ".join(str(error).replace(self._uri, self.shown_uri).split())[:MAX_ERROR_CHARACTERS]
        _log.warning("MLflow at %s: %s: %s; training goes on", self.shown_uri, type(error).__name__, said)


def _experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another job made it in between
            if found is None:
                raise
    return str(found.experiment_id)


def _log_parameters(client: Any, run_id: str, parameters: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    client.log_batch(run_id, params=[Param(name, value) for name, value in shown.items()])


def _log_metrics(client: Any, run_id: str, step: int, values: Mapping[str, float], milliseconds: int) -> None:
    from mlflow.entities import Metric

    client.log_batch(run_id, [Metric(name, value, milliseconds, step) for name, value in values.items()])


def _end(client: Any, run_id: str, status: str, reason: str, files: Sequence[Path]) -> None:
    try:
        if reason:
            client.set_tag(run_id, "failure", reason)
        for path in files:
            client.log_artifact(run_id, str(path))
    finally:
        client.set_terminated(run_id, status)
