"""LitServe with its own batching. It reads the annotations of its methods, so they must not be strings."""

import os
from collections.abc import Sequence
from typing import Any

import litserve
import numpy as np

from benchmarks.serving.peers.lines import Ask, read, write
from benchmarks.serving.peers.opened import BATCH_SECONDS, MAX_BATCH, PORT, TIMEOUT_SECONDS, open_model


class Captions(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:  # noqa: ARG002 - the name is LitServe's
        self.model, self.random = open_model(), np.random.default_rng()

    def decode_request(self, request: dict[str, Any]) -> Ask:
        return read(request, self.model.size)

    def batch(self, inputs: Sequence[Ask]) -> list[Ask]:
        return list(inputs)

    def predict(self, asks: list[Ask]) -> list[str]:
        return write(self.model, asks, self.random)

    def unbatch(self, output: list[str]) -> list[str]:
        return output

    def encode_response(self, output: str) -> dict[str, Any]:
        return {"captions": [{"text": output}]}


if __name__ == "__main__":
    litserve.LitServer(
        Captions(max_batch_size=MAX_BATCH, batch_timeout=BATCH_SECONDS, api_path="/invocations"),
        accelerator="cpu",
        workers_per_device=1,
        timeout=TIMEOUT_SECONDS,
        healthcheck_path="/ping",
    ).run(
        host="127.0.0.1",
        port=int(os.environ[PORT]),
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
