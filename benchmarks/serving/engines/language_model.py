"""The language model inside our decoder, as `transformers` has it, for contenders that take no picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from benchmarks.serving.engines.turn import POSITIONS
from benchmarks.serving.shapes import HEAD_WIDTH, SHAPES

_INSIDE = "transformer."


def weights(base: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Named as in `transformers.GPT2Model`; positions are repeated until there are `POSITIONS`."""
    stored = load_file(base / "weights/decoder.safetensors")
    found = {name.removeprefix(_INSIDE): array for name, array in stored.items() if name.startswith(_INSIDE)}
    found["wpe.weight"] = np.resize(found["wpe.weight"], (POSITIONS, found["wpe.weight"].shape[1]))
    return found


def config(shape: str) -> dict[str, Any]:
    """The sizes, named as in `transformers.GPT2Config`."""
    sizes = SHAPES[shape]
    return {
        "vocab_size": sizes.vocabulary,
        "n_positions": POSITIONS,
        "n_embd": sizes.width,
        "n_layer": sizes.layers,
        "n_head": sizes.width // HEAD_WIDTH,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
