from pathlib import Path

import pytest

from ogiri.captioning.training.driver import driver_version, why_no_gpu

KERNEL = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12.2.0\n"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)  \n"
TOO_OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update"


@pytest.mark.parametrize(("text", "version"), [(KERNEL, "535.104.05"), (OPEN, "580.65.06"), ("nothing", None)])
def test_the_version_is_what_the_kernel_says(tmp_path: Path, text: str, version: str | None):
    file = tmp_path / "version"
    file.write_text(text)
    assert driver_version({}, file) == version


@pytest.mark.parametrize(
    ("script", "version"),
    [("echo 470.57.02; echo 470.57.02", "470.57.02"), ("echo NVIDIA-SMI has failed; exit 9", None), ("exit 0", None)],
)
def test_or_what_nvidia_smi_says(tmp_path: Path, script: str, version: str | None):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert driver_version({"PATH": str(tmp_path)}, tmp_path / "none") == version


def test_without_either_there_is_no_driver(tmp_path: Path):
    assert driver_version({"PATH": str(tmp_path)}, tmp_path / "none") is None
    assert why_no_gpu(None, []) == "no GPU is found: take an instance type with one, such as ml.g5.xlarge"


@pytest.mark.parametrize(("version", "warned"), [("470.57.02", [TOO_OLD]), ("470.57.02", []), ("580.1.2", [TOO_OLD])])
def test_a_driver_that_is_too_old_is_named_with_the_cuda_it_cannot_run(version: str, warned: list[str]):
    said = why_no_gpu(version, warned, "13.0")
    assert said.startswith(f"the NVIDIA driver {version} is too old for CUDA 13.0, which torch ")
    assert "it needs 580 or newer; take an instance type whose driver is" in said


def test_a_gpu_that_is_not_given_to_the_container():
    assert "finds no GPU: none is visible: is one given to the container (--gpus all)?" in why_no_gpu(
        "580.65.06", [], "13.0"
    )
    assert why_no_gpu("580.65.06", ["CUDA unknown\nerror"], "13.0").endswith("finds no GPU: CUDA unknown error")


def test_a_torch_without_cuda():
    assert "is built without CUDA: take the image that is built for GPUs" in why_no_gpu("580.65.06", [], None)
