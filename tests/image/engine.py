"""The container engine that the tests of the image use: docker, or podman in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Engine:
    """`docker` or `podman`, and the image under test.

    Attributes:
        program: docker or podman.
        image: name of the image.
        environment: of every command.
    """

    program: str
    image: str
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def is_podman(self) -> bool:
        return "podman" in self.output("--version")

    def command(self, *arguments: str) -> list[str]:
        return [self.program, *arguments]

    def output(self, *arguments: str) -> str:
        """What a command prints that must succeed."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *command: str, options: Sequence[str] = (), seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """`docker run --rm OPTIONS IMAGE COMMAND`, to its end."""
        arguments = self.command("run", "--rm", *options, self.image, *command)
        return subprocess.run(arguments, capture_output=True, text=True, timeout=seconds, env=self.environment)

    def read_only(self) -> list[str]:
        """A root file system that nobody can write to, as on a serverless endpoint: /tmp alone, and no /dev/shm."""
        strict = ["--read-only-tmpfs=false"] if self.is_podman else []  # podman makes more folders writable
        return ["--read-only", *strict, "--tmpfs", "/tmp", "--ipc", "none"]


def find(image: str) -> Engine | None:
    """The engine that $DOCKER names, or the first that answers; None where there is none."""
    named = os.environ.get("DOCKER")
    for program in [named] if named else ["docker", "podman"]:
        if shutil.which(program) and _answers(program):
            return Engine(program, image)
    return None


def _answers(program: str) -> bool:
    return subprocess.run([program, "info"], capture_output=True).returncode == 0
