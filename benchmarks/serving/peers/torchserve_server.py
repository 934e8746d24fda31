"""TorchServe with its own batching. Its front is in Java; its one worker runs `Captions`.

Its `/ping` answers 200 before the worker has loaded its model; a request that comes by then waits for that.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ts import model_server

from benchmarks.serving.peers.lines import read, write
from benchmarks.serving.peers.opened import BATCH_SECONDS, MAX_BATCH, PORT, TIMEOUT_SECONDS, open_model

NAME = "captions"
HANDLER = "benchmarks.serving.peers.torchserve_server"
LOGGING = {
    "rootLogger.level": "warn",
    "rootLogger.appenderRef.out.ref": "out",
    "appender.out.type": "Console",
    "appender.out.name": "out",
    "appender.out.layout.type": "PatternLayout",
    "appender.out.layout.pattern": "%p %c - %m%n",
}


class Captions:
    """The handler; TorchServe wants no other class in this module."""

    def initialize(self, context: Any) -> None:  # noqa: ARG002 - TorchServe gives it
        self.model, self.random = open_model(), np.random.default_rng()

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        asks = [read(each["body"], self.model.size) for each in data]
        return [{"captions": [{"text": line}]} for line in write(self.model, asks, self.random)]


def main() -> None:
    """Serve until SIGTERM. Whatever TorchServe writes lies in a folder that goes away with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "store" / NAME)
        write_properties(folder / "logging.properties", LOGGING)
        write_properties(folder / "config.properties", configuration(folder, int(os.environ[PORT])))
        os.environ["TEMP"] = tempfile.tempdir = name  # Java's, and the place of the file that --stop reads
        try:
            torchserve(
                *("--start", "--foreground", "--ncs", "--disable-token-auth"),
                *("--ts-config", str(folder / "config.properties")),
                *("--log-config", str(folder / "logging.properties")),
            )
        finally:
            torchserve("--stop", "--foreground")


def configuration(folder: Path, port: int) -> dict[str, Any]:
    """TorchServe's `config.properties`: everything by HTTP at one port, and gRPC, which cannot be left out, at any."""
    return {
        **{f"{each}_address": f"http://127.0.0.1:{port}" for each in ("inference", "management")},
        **{f"grpc_{each}_address": "127.0.0.1" for each in ("inference", "management")},
        **{f"grpc_{each}_port": 0 for each in ("inference", "management")},
        "model_store": folder / "store",
        "load_models": NAME,
        "number_of_gpu": 0,
        "enable_metrics_api": "false",
        "disable_system_metrics": "true",
        "vmargs": "-XX:-UsePerfData",  # a file below /tmp
    }


def write_model(folder: Path) -> None:
    """The model as TorchServe takes it: where its handler is, and how requests become batches."""
    (folder / "MAR-INF").mkdir(parents=True)
    model = {"modelName": NAME, "modelVersion": "1.0", "handler": HANDLER, "configFile": "model.yaml"}
    (folder / "MAR-INF/MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))
    workers = {"minWorkers": 1, "maxWorkers": 1, "responseTimeout": TIMEOUT_SECONDS}
    batches = {"batchSize": MAX_BATCH, "maxBatchDelay": round(1000 * BATCH_SECONDS)}
    (folder / "model.yaml").write_text(json.dumps({**workers, **batches}))  # JSON is YAML


def write_properties(file: Path, values: Mapping[str, Any]) -> None:
    """A file as Java reads it."""
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def torchserve(*arguments: str) -> None:
    """What the command of this name does."""
    sys.argv[1:] = arguments
    model_server.start()


if __name__ == "__main__":
    main()
