"""An artifact on this machine that is asked for lines, by way of the image's own server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli.answer import Answer, AnswerError, answer_from, message, request
from cli.errors import CommandError
from local import endpoint
from local.process import ProcessError
from ogiri import artifact
from ogiri.artifact import ArtifactError

TASK = "caption"


@contextlib.contextmanager
def serving(source: Path, folder: Path, timeout: float) -> Iterator[Callable[[bytes, dict[str, Any]], Answer]]:
    """Serve a model as long as the block lasts, and yield what asks it.

    Args:
        source: a model.tar.gz, or a folder with what is in one.
        folder: an empty one, for the unpacked files and the log.
        timeout: of one answer, in seconds.

    Raises:
        CommandError: it is no artifact of a caption model, or does not serve.
    """
    base = folder / "ml"
    try:
        _lay_out(source, base)
        task = artifact.read_artifact(base / "model").task
        if task != TASK:
            raise CommandError(f"{source} is a model of the task {task}: only one of {TASK} makes lines for pictures")
        started = endpoint.serving(base, dict(os.environ), folder / "serve.log", timeout)
        with started as server:
            yield lambda picture, parameters: _ask(server, picture, parameters)
    except BrokenPipeError:  # whoever reads the lines has seen enough
        raise
    except (ArtifactError, OSError) as error:
        raise CommandError(str(error)) from error
    except ProcessError as error:
        raise CommandError(f"{error}\n(container/serve needs nginx and the packages of `make setup`)") from error


def _lay_out(source: Path, base: Path) -> None:
    if source.is_dir():
        base.mkdir()
        (base / "model").symlink_to(source.resolve(), target_is_directory=True)
    else:
        endpoint.unpack(source, base)


def _ask(server: endpoint.Endpoint, picture: bytes, parameters: dict[str, Any]) -> Answer:
    try:
        return answer_from(server.invoke(request(picture, parameters)))
    except endpoint.EndpointError as error:
        _, _, body = str(error).partition(": ")
        raise AnswerError(message(body or str(error))) from error
