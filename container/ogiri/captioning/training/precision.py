"""float32, or bf16 where the hardware computes in it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 where asked for, or with `auto` where the hardware computes in it; else float32."""
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 itself, so that it is faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
