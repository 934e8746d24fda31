"""The memory that further models may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogiri.machine import available_bytes

MEGABYTE = 2**20

RESERVE_BYTES = 256 * MEGABYTE
"""Kept free for what requests need while they are answered: pictures, states, bodies."""

NEED_FACTOR, NEED_BYTES = 1.75, 24 * MEGABYTE
"""What an artifact needs at most, as a multiple of its files' bytes and a constant: while they were loaded and warmed
up, captioners of 12 to 20 MB took 25 to 46 MB, a graph of 108 MB with 8-bit weights 172 MB, one of 384 MB in float32
425 MB."""

UNSERVED = "weights/"
"""Files of an artifact that lie below are for training to go on from."""


@dataclass(frozen=True)
class ModelMemory:
    """What the models of this process may take together.

    Attributes:
        limit_bytes: of all models; None for what the container has, less RESERVE_BYTES.
        root: where `proc` and `sys` lie.
    """

    limit_bytes: int | None = None
    root: Path = Path("/")

    def free_bytes(self, taken: int) -> int:
        """Bytes that a further model may take, negative when memory is short already.

        Args:
            taken: bytes of the models that are loaded; where there is no limit, the kernel's own count includes them.
        """
        if self.limit_bytes is not None:
            return self.limit_bytes - taken
        return available_bytes(self.root) - RESERVE_BYTES


def needed_bytes(files: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes that a model needs while it is loaded.

    Args:
        files: of its manifest, name → `{"bytes": …}`.
    """
    served = sum(int(entry["bytes"]) for name, entry in files.items() if not name.startswith(UNSERVED))
    return int(NEED_FACTOR * served) + NEED_BYTES
