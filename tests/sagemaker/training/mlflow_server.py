"""A real MLflow tracking server, and what it has been told, read over its REST API."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from local.process import running
from tests.contract.server import free_port

TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class MlflowServer:
    """Where it answers, and the folder of what it keeps."""

    url: str
    folder: Path

    def call(self, path: str, **body: Any) -> dict[str, Any]:
        method, url = "POST" if body else "GET", f"{self.url}/api/2.0/mlflow/{path}"
        answer = requests.request(method, url, json=body or None, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def runs(self, experiment: str = "ogiri") -> list[dict[str, Any]]:
        """Runs of an experiment, the latest first."""
        found = self.call(f"experiments/get-by-name?experiment_name={experiment}")
        return self.call("runs/search", experiment_ids=[found["experiment"]["experiment_id"]])["runs"]

    def run(self, name: str, experiment: str = "ogiri") -> dict[str, Any]:
        """The one run of this name: `info`, and `params` and `tags` as dictionaries."""
        (run,) = [run for run in self.runs(experiment) if run["info"]["run_name"] == name]
        data = {kind: {one["key"]: one["value"] for one in run["data"].get(kind, [])} for kind in ("params", "tags")}
        return {"info": run["info"], **data}

    def curve(self, name: str, metric: str) -> list[tuple[int, float]]:
        run_id = self.run(name)["info"]["run_id"]
        found = self.call(f"metrics/get-history?run_id={run_id}&metric_key={metric}").get("metrics", [])
        return sorted((int(point["step"]), point["value"]) for point in found)

    def artifacts(self, name: str) -> list[str]:
        run_id = self.run(name)["info"]["run_id"]
        return sorted(file["path"] for file in self.call(f"artifacts/list?run_id={run_id}").get("files", []))


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[MlflowServer]:
    """MLflow's own application without its pages; in the folder of an earlier one it knows what that knew."""
    server = MlflowServer(f"http://127.0.0.1:{port or free_port()}", folder)
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-b", server.url.removeprefix("http://")]

    def ready() -> MlflowServer | None:
        try:
            return server if requests.get(f"{server.url}/health", timeout=2).ok else None
        except requests.RequestException:
            return None

    with running([*command, "mlflow.server:app"], log=folder / "mlflow.log", ready=ready, environment=environment):
        yield server
