"""How many pictures a second are read, encoded and both, beside torchvision's loader with the same encoder in torch.

Every way runs once a round, one after the other, so that all see the same machine; the best round counts.

    python -m benchmarks.training.pictures FOLDER --pretrained WEIGHTS [--encoder mobilenet_v2] [--size 224]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.training.results import publish
from ogiri import picture
from ogiri.captioning.data.blocks import BlockMaker
from ogiri.captioning.data.features import FrozenEncoder, feature_maps
from ogiri.captioning.data.shards import BLOCK_ROWS
from ogiri.captioning.model.encoder import Encoder, load_encoder
from ogiri.captioning.training.encoding import frozen
from ogiri.machine import available_processors

WORKERS = 2  # of torchvision's loader
LOADER = "read: torchvision"
TOGETHER = "read and encode: torchvision and torch"


class Pictures(Dataset[torch.Tensor]):
    """As people write it: open, convert, resize."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self._paths = paths
        self._transform = v2.Compose([v2.Resize((size, size)), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        tensor: torch.Tensor = self._transform(Image.open(self._paths[index]).convert("RGB"))
        return tensor


class Ways:
    """What is measured: each goes through all pictures once."""

    def __init__(self, folder: Path, keys: list[str], encoder: Encoder, encodes: FrozenEncoder) -> None:
        self._folder, self._keys, self._encoder, self._encodes = folder, keys, encoder, encodes
        self._loader = DataLoader(
            Pictures([folder / key for key in keys], encodes.size),
            batch_size=BLOCK_ROWS,
            num_workers=WORKERS,
            persistent_workers=True,  # their start is not counted
        )
        self._decoded = np.stack([picture.load((folder / key).read_bytes(), encodes.size) for key in keys])
        self._threads = available_processors()

    def all(self) -> dict[str, Callable[[], None]]:
        """Name → what to run."""
        return {
            LOADER: self._load,
            "read: ogiri, with its hash": self._read,
            "encode: torch": self._encode_in_torch,
            "encode: ogiri": self._encode,
            TOGETHER: self._load_and_encode,
            "read and encode: ogiri, into shards": self._feature_maps,
        }

    def _load(self) -> None:
        for _ in self._loader:
            pass

    def _read(self) -> None:
        maker = BlockMaker(
            self._folder, self._keys, self._encodes.size, (), np.dtype(np.uint8), _nothing, lambda: False
        )
        rows = range(len(self._keys))
        for _ in maker.blocks(rows[i : i + BLOCK_ROWS] for i in range(0, len(rows), BLOCK_ROWS)):
            pass

    def _encode_in_torch(self) -> None:
        with torch.inference_mode():
            for start in range(0, len(self._decoded), BLOCK_ROWS):
                self._encoder(torch.from_numpy(self._decoded[start : start + BLOCK_ROWS]))

    def _encode(self) -> None:
        size = self._encodes.batch
        with ThreadPoolExecutor(self._threads) as pool:
            batches = [self._decoded[start : start + size] for start in range(0, len(self._decoded), size)]
            for _ in pool.map(self._encodes.encode, batches):
                pass

    def _load_and_encode(self) -> None:
        with torch.inference_mode():
            for batch in self._loader:
                self._encoder(batch.permute(0, 2, 3, 1))

    def _feature_maps(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            feature_maps(self._folder, self._keys, self._encodes, Path(folder) / "maps", "", lambda: False)


def _nothing(pictures: npt.NDArray[np.uint8], *_: Any) -> npt.NDArray[np.uint8]:
    return np.zeros(len(pictures), np.uint8)


def measure(ways: dict[str, Callable[[], None]], pictures: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each way: pictures a second in the best round, and that beside torchvision's."""
    seconds = dict.fromkeys(ways, float("inf"))
    for run in ways.values():
        run()  # workers, files and kernels are warm then
    for _ in range(rounds):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    peers = {"read": LOADER, "encode": "encode: torch", "read and encode": TOGETHER}
    return [
        {
            "way": name,
            "pictures a second": round(pictures / seconds[name], 1),
            "times its peer": round(seconds[peers[name.split(":")[0]]] / seconds[name], 2),
        }
        for name in ways
    ]


@contextmanager
def _ways(options: argparse.Namespace, keys: list[str]) -> Iterator[Ways]:
    encoder = load_encoder(options.encoder, options.size, [options.pretrained], allow_download=False)
    with frozen(encoder, torch.device("cpu")) as encodes:
        yield Ways(options.folder, keys, encoder, encodes)


def main() -> None:
    """Measure, print and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with pictures")
    parser.add_argument("--pretrained", type=Path, required=True, help="folder with the encoder's weights")
    parser.add_argument("--encoder", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pictures", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keys = sorted(path.name for path in options.folder.iterdir())[: options.pictures]
    with _ways(options, keys) as ways:
        rows = measure(ways.all(), len(keys), options.rounds)
    load = os.getloadavg()[0]
    settings = {"encoder": options.encoder, "size": options.size, "pictures": len(keys), "load": round(load, 1)}
    publish("pictures", settings, rows)


if __name__ == "__main__":
    main()
