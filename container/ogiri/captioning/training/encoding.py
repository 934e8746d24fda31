"""A frozen encoder at its fastest: on a GPU as it is, on a CPU as the very graph that will be served.

ONNX Runtime folds batch norm and activation into the convolutions: MobileNetV2 at 320 × 320 takes 18.5 ms a picture and
core with it, 55 ms with torch. Several threads encode at a time, each on one core: a picture takes 8.4 ms at 224 × 224
then, and 11.9 ms where two cores share each picture and one of them has other work to do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ogiri.captioning.data.blocks import Pixels
from ogiri.captioning.data.features import FLOAT16_MAX, FrozenEncoder
from ogiri.captioning.model.encoder import Encoder, EncoderHead
from ogiri.captioning.serving.engine import open_session
from ogiri.captioning.training.export import export_encoder

GPU_BATCH = 32
GRAPH_BATCH = 4  # more take longer a picture, and a job that is asked to end waits for one


@contextmanager
def frozen(encoder: Encoder | EncoderHead, device: torch.device) -> Iterator[FrozenEncoder]:
    """The encoder or its head, in evaluation mode from now on, as something that encodes."""
    if isinstance(encoder, Encoder):
        encoder.requires_grad_(False)
    encoder.eval().to(device)
    if device.type != "cpu":
        yield _TorchEncoder(encoder, device)
        return
    with TemporaryDirectory() as folder:
        graph = Path(folder) / "encoder.onnx"
        export_encoder(encoder, graph)
        yield _GraphEncoder(encoder, graph)


class _TorchEncoder:
    batch = GPU_BATCH

    def __init__(self, encoder: Encoder | EncoderHead, device: torch.device) -> None:
        self.size, self.cells, self.channels = encoder.size, encoder.cells, encoder.channels
        self._encoder, self._device = encoder, device
        self._turn = threading.Lock()  # the memory of the GPU is for one batch

    @torch.inference_mode()
    def encode(self, pictures: Pixels) -> npt.NDArray[np.floating[Any]]:
        with self._turn:
            made = self._encoder(torch.from_numpy(pictures).to(self._device))
            maps: npt.NDArray[np.floating[Any]] = made.clamp(-FLOAT16_MAX, FLOAT16_MAX).half().cpu().numpy()
        return maps


class _GraphEncoder:
    batch = GRAPH_BATCH

    def __init__(self, encoder: Encoder | EncoderHead, graph: Path) -> None:
        self.size, self.cells, self.channels = encoder.size, encoder.cells, encoder.channels
        self._session = open_session(graph, threads=1)

    def encode(self, pictures: Pixels) -> npt.NDArray[np.floating[Any]]:
        maps: npt.NDArray[np.floating[Any]] = self._session.run(["map"], {"picture": pictures})[0]
        return maps
