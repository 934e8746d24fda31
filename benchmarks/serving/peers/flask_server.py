"""The `serve` that many copy from the scikit-learn example: gunicorn and Flask, and a whole model in each worker."""

from __future__ import annotations

from typing import Any

import flask
import numpy as np

from benchmarks.serving.peers.lines import read, write
from benchmarks.serving.peers.opened import open_model

app = flask.Flask(__name__)
model, random = open_model(), np.random.default_rng()


@app.get("/ping")
def ping() -> str:
    return "\n"


@app.post("/invocations")
def invocations() -> dict[str, Any]:
    (line,) = write(model, [read(flask.request.get_json(), model.size)], random)
    return {"captions": [{"text": line}]}
