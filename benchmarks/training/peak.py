"""How many operations a second all processors together do in matrix products: no training step does more.

python -m benchmarks.training.peak
"""

from __future__ import annotations

import time

import torch

SIDES = (768, 1536, 3072)
"""Of square matrices, from what lies in a cache to what does not; on the processors seen so far, the last is best."""
PRODUCTS = 3


def operations_per_second(dtype: torch.dtype, sides: tuple[int, ...] = SIDES) -> float:
    """The best of some products of square matrices, a multiplication and an addition counted as two operations."""
    return max(2 * side**3 / _seconds(side, dtype) for side in sides for _ in range(PRODUCTS))


def _seconds(side: int, dtype: torch.dtype) -> float:
    a, b = torch.rand(side, side).to(dtype), torch.rand(side, side).to(dtype)
    out = torch.empty_like(a)  # written once before, so that its pages are there
    torch.mm(a, b, out=out)
    began = time.perf_counter()
    torch.mm(a, b, out=out)
    return time.perf_counter() - began


def main() -> None:
    """Print both peaks."""
    for dtype in (torch.float32, torch.bfloat16):
        print(f"{dtype}: {operations_per_second(dtype) / 1e9:.0f} billion operations a second")


if __name__ == "__main__":
    main()
