"""BentoML with its adaptive batching."""

from __future__ import annotations

from typing import Any

import bentoml
import numpy as np

from benchmarks.serving.peers.lines import read, write
from benchmarks.serving.peers.opened import MAX_BATCH, TIMEOUT_SECONDS, open_model


@bentoml.service(workers=1, traffic={"timeout": TIMEOUT_SECONDS})
class Captions:
    def __init__(self) -> None:
        self.model, self.random = open_model(), np.random.default_rng()

    @bentoml.api(route="/invocations", batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=1000 * TIMEOUT_SECONDS)
    def invocations(self, requests: list[dict[str, Any]]) -> list[str]:
        return write(self.model, [read(request, self.model.size) for request in requests], self.random)
