"""The built image, run by an engine: `make image-test` builds it and runs these. Elsewhere they are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.contract.server import Server, free_port
from tests.contract.training import Training
from tests.image.engine import ROOT, Engine, find
from tests.image.readme import read, readme_command
from tests.image.small_job import prepare

VARIABLE = "OGIRI_TEST_IMAGE"
DEFAULT_MODEL = {"encoder_weights": "none", "epochs": "1", "validation_fraction": "0"}
"""Every other hyperparameter as it is by default: a ResNet-50, the LSTM."""


@pytest.fixture(scope="session")
def engine() -> Engine:
    image = os.environ.get(VARIABLE)
    if not image:
        pytest.skip(f"{VARIABLE} names no image: make image-test builds one and runs this")
    engine = find(image)
    if engine is None:
        pytest.skip("neither docker nor podman answers `info`: an engine is needed to run the image")
    assert image in engine.output("images", "--format", "{{.Repository}}:{{.Tag}}"), f"{image} is not built: make image"
    return engine


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's commands need of the repository, in a folder where `ml` can lie too."""
    folder = tmp_path_factory.mktemp("checkout")
    wanted = ["Dockerfile", ".dockerignore", "build_and_push.sh", "container", "requirements"]
    listed = subprocess.run(["git", "ls-files", *wanted], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def docker(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment in which `docker` is the engine, as Debian's podman-docker makes it."""
    folder = tmp_path_factory.mktemp("bin")
    if engine.is_podman:
        program = shutil.which(engine.program)
        (folder / "docker").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (folder / "docker").chmod(0o755)
    path = os.pathsep.join([str(folder), engine.environment["PATH"]])
    return {**engine.environment, "PATH": path, "BUILDAH_FORMAT": "docker"}


@pytest.fixture
def serve(engine: Engine, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `docker run OPTIONS IMAGE serve`: `serve("--memory", "1g")`."""
    started: list[Server] = []

    def start(*options: str) -> Server:
        port = free_port()
        command = engine.command("run", "--rm", "-p", f"127.0.0.1:{port}:8080", *options, engine.image, "serve")
        log = tmp_path / f"log-{port}"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=engine.environment)
        started.append(Server(process, port, log, tmp_path))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def trained(engine: Engine, docker: Mapping[str, str], checkout: Path) -> Training:
    """What the README's command to train leaves for the default model; nobody changes it."""
    job = prepare(checkout / "ml", DEFAULT_MODEL)
    command = read(readme_command("run", "train"), engine)
    ended = subprocess.run(["bash", "-c", command], cwd=checkout, env=docker, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return job
