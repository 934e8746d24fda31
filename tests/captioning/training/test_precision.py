from pathlib import Path

import torch

from ogiri.captioning.training.precision import autocast, has_bf16

CPU = torch.device("cpu")


def computes_in(precision: str) -> torch.dtype:
    with autocast(precision, CPU):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_precision_is_what_was_asked_for():
    assert computes_in("fp32") == torch.float32
    assert computes_in("bf16") == torch.bfloat16
    assert computes_in("auto") == (torch.bfloat16 if has_bf16(CPU) else torch.float32)


def test_bf16_is_found_where_the_processor_has_it():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert has_bf16(CPU) == ("avx512_bf16" in flags or "amx_bf16" in flags)
