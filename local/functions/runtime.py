"""What runs an instance of a function: this Python, or AWS's own runtime in its Runtime Interface Emulator."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local.job import ROOT

FOLDER = ROOT / "lambda" / "functions"
CODE = (ROOT / "container", ROOT / "lambda" / "layer", ROOT)
_CLIENT = (
    "import runpy, site, sys; site.addsitedir(sys.argv.pop(1)); "  # behind this Python's own packages
    "runpy.run_module('awslambdaric', run_name='__main__', alter_sys=True)"
)


class Runtime(Protocol):
    """Knows a command that answers events on a port."""

    def command(self, handler: str, port: int, own_port: int) -> list[str]:
        """The command, to be run in FOLDER.

        Args:
            handler: `prepare.lambda_handler`.
            port: of loopback, for events.
            own_port: a second one, for the runtime itself.
        """


@dataclass(frozen=True)
class Processes:
    """This Python with `handler.py`."""

    def command(self, handler: str, port: int, own_port: int) -> list[str]:
        """One process."""
        del own_port
        return [sys.executable, "-m", "local.functions.handler", "--port", str(port), handler]


@dataclass(frozen=True)
class Emulator:
    """AWS's Runtime Interface Emulator with AWS's runtime client for Python.

    Attributes:
        tools: a virtual environment with aws-sam-cli, whose wheel brings the emulator, and awslambdaric.
    """

    tools: Path

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return self.tools / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"

    @property
    def program(self) -> Path:
        """The emulator for this machine."""
        machine = "arm64" if os.uname().machine in ("arm64", "aarch64") else "x86_64"
        return self.packages / "samcli" / "local" / "rapid" / f"aws-lambda-rie-{machine}"

    def command(self, handler: str, port: int, own_port: int) -> list[str]:
        """The emulator, which starts the client."""
        client = [sys.executable, "-c", _CLIENT, str(self.packages), handler]
        addresses = ("--runtime-interface-emulator-address", port), ("--runtime-api-address", own_port)
        options = [part for name, number in addresses for part in (name, f"127.0.0.1:{number}")]
        return [str(self.program), *options, *client]
