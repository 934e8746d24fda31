"""The README's commands about the image, each as it stands there."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from ogiri import artifact
from tests.contract.server import Server, free_port
from tests.contract.training import Training, drawn
from tests.image.engine import Engine
from tests.image.readme import read, readme_command, readme_commands


def test_there_are_four_commands():
    assert [line.split()[:2] for line in readme_commands()] == [
        ["docker", "build"],
        ["docker", "run"],
        ["docker", "run"],
        ["./build_and_push.sh", "ogiri"],
    ]


def test_builds(engine: Engine, docker: Mapping[str, str], checkout: Path):
    command = read(readme_command("docker build"), engine)
    done = subprocess.run(["bash", "-c", command], cwd=checkout, env=docker, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_trains(trained: Training):
    assert artifact.open_artifact(trained.model).manifest["task"] == "caption"
    assert (trained.output / "report.html").stat().st_size > 10_000


def test_serves(engine: Engine, docker: Mapping[str, str], checkout: Path, trained: Training, tmp_path: Path):
    port = free_port()
    command = read(readme_command("run", "serve"), engine)
    assert "-p 8080:8080" in command
    command = command.replace("-p 8080:", f"-p {port}:")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=checkout, env=docker, stdout=log, stderr=log)
    server = Server(process, port, tmp_path / "log", tmp_path)
    try:
        server.wait_for_ping(200)
        reply = server.request("POST", "/invocations", drawn(3), {"Content-Type": "image/png"})
        assert reply.status == 200
        assert reply.json()["captions"][0]["text"]
    finally:
        assert server.stop() == 0
