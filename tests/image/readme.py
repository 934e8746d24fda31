"""The commands of the README about the image."""

from __future__ import annotations

from tests.image.engine import ROOT, Engine


def readme_commands() -> list[str]:
    """The lines of the README that build, run and push the image."""
    block = next(part for part in (ROOT / "README.md").read_text(encoding="utf-8").split("```sh\n") if "docker" in part)
    return [line.partition("  #")[0].rstrip() for line in block.partition("```")[0].splitlines()]


def readme_command(*words: str) -> str:
    """The one with all these words."""
    (command,) = [line for line in readme_commands() if all(word in line for word in words)]
    return command


def read(command: str, engine: Engine) -> str:
    """A command of the README about the image under test, whatever that is called."""
    return command.replace(" ogiri", f" {engine.image}")
