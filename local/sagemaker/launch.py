"""How a container of the image is started: as a process of this machine, or by podman or docker.

Either way it is a command that gets SIGTERM and SIGKILL as a container's first process does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

from local.job import ROOT, container_environment

_P = TypeVar("_P", bound=subprocess.Popen[bytes])


class Launcher(Protocol):
    """Starts `train` or `serve` of an image, with a folder as its /opt/ml."""

    def start(
        self, program: str, image: str, base: Path, environment: Mapping[str, str], output: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start it.

        Args:
            program: `train` or `serve`.
            image: as the request names it.
            base: becomes /opt/ml.
            environment: what the request and the platform set.
            output: gets stdout and stderr.
        """


@dataclass(frozen=True)
class Processes:
    """`container/train` and `container/serve` with this Python, whatever image is asked for.

    Attributes:
        environment: beneath that of the request: where S3 and DynamoDB are.
        folder: of the two programs.
    """

    environment: Mapping[str, str]
    folder: Path = ROOT / "container"

    def start(
        self, program: str, image: str, base: Path, environment: Mapping[str, str], output: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start it."""
        del image
        whole = container_environment({**self.environment, **environment}, base)
        return _started([str(self.folder / program), program], whole, output, subprocess.Popen[bytes])


@dataclass(frozen=True)
class Containers:
    """`podman run IMAGE train`.

    Attributes:
        engine: `podman` or `docker`.
        environment: as that of `Processes`; only its `AWS_…` go into the container.
    """

    engine: str
    environment: Mapping[str, str]

    def start(
        self, program: str, image: str, base: Path, environment: Mapping[str, str], output: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start it, in the network of this machine."""
        aws = {name: value for name, value in self.environment.items() if name.startswith("AWS_")}
        aws = {name: value for name, value in aws.items() if value != os.devnull}
        variables = [f"--env={name}={value}" for name, value in {**aws, **environment}.items()]
        name = f"ogiri-{program}-{uuid.uuid4().hex[:12]}"
        options = ["--rm", f"--name={name}", "--network=host", f"--volume={base.resolve()}:/opt/ml", *variables]
        process = _started([self.engine, "run", *options, image, program], os.environ, output, _Container)
        process.kill_command = [self.engine, "kill", name]
        return process


class _Container(subprocess.Popen[bytes]):
    """The command that a container runs under: it hands SIGTERM on, but killed it would leave the container running."""

    kill_command: list[str]

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        if code == -signal.SIGKILL:
            subprocess.run(self.kill_command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return code


def _started(
    command: list[str], environment: Mapping[str, str], output: int | IO[bytes], kind: Callable[..., _P]
) -> _P:
    return kind(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
    )
