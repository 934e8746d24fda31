"""Two hosts of a job on one machine: network namespaces joined by a cable, with names in their own /etc/hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

INTERFACE = "eth0"
FOLDER = Path("/etc/netns")


@contextmanager
def two_hosts() -> Iterator[dict[str, list[str]]]:
    """Host name → the command that runs a program on it.

    Raises:
        PermissionError: this process may not make network namespaces.
    """
    names = {f"algo-{n}": f"ogiri-{os.getpid()}-{n}" for n in (1, 2)}
    addresses = {host: f"10.77.0.{n}" for n, host in enumerate(names, 1)}
    listed = "127.0.0.1 localhost\n" + "".join(f"{address} {host}\n" for host, address in addresses.items())
    try:
        for space in names.values():
            _ip("netns", "add", space)
        first, second = names.values()
        _ip("link", "add", INTERFACE, "netns", first, "type", "veth", "peer", "name", INTERFACE, "netns", second)
        for host, space in names.items():
            (FOLDER / space).mkdir(parents=True)
            (FOLDER / space / "hosts").write_text(listed, encoding="utf-8")
            _ip("-n", space, "addr", "add", f"{addresses[host]}/24", "dev", INTERFACE)
            for link in ("lo", INTERFACE):
                _ip("-n", space, "link", "set", link, "up")
        yield {host: ["ip", "netns", "exec", space] for host, space in names.items()}
    finally:
        for space in names.values():
            with suppress(PermissionError):
                _ip("netns", "delete", space)
            shutil.rmtree(FOLDER / space, ignore_errors=True)


def cut(command: list[str]) -> None:
    """Take the cable out of a host, so that nothing of it comes through any more."""
    subprocess.run([*command, "ip", "link", "set", INTERFACE, "down"], check=True)


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PermissionError("there is no program `ip`") from error
    except subprocess.CalledProcessError as error:
        raise PermissionError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error
