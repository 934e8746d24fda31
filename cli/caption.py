"""Lines for pictures, from an endpoint, from the HTTP API, or from an artifact on this machine.

Without --endpoint, --api or --model it asks the endpoint that ENDPOINT_NAME or the stack names. --model starts the real
server of the image, container/serve, on a free port for as long as the command runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli import api, endpoint, model
from cli.answer import Answer, AnswerError
from cli.errors import CommandError
from cli.places import ENDPOINT, Places, add_options

Ask = Callable[[bytes, dict[str, Any]], Answer]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--model", type=Path, metavar="FOLDER_OR_TAR", help="an artifact, unpacked or model.tar.gz")
    parser.add_argument("--api", metavar="URL", help="of the HTTP API, as deploy.sh prints it")
    parser.add_argument("--token", help="for an API with ApiAuthorization=jwt; else requests are signed for iam")
    parser.add_argument("--candidates", type=int, metavar="N", help="lines for each picture (1)")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="any parameter of the model: seed=1"
    )
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="of one picture (120)")
    parser.add_argument("--json", action="store_true", help="one JSON object a picture")
    add_options(parser, ENDPOINT)


def run(options: argparse.Namespace) -> int:
    """Print lines; 1 when a picture got none."""
    chosen = [name for name in ("model", "api", "endpoint") if getattr(options, name)]
    if len(chosen) > 1:
        raise CommandError(f"--{' and --'.join(chosen)} exclude each other: name one of them")
    parameters = _parameters(options)
    failed = 0
    with _asked(options) as ask:
        for path in options.pictures:
            try:
                answer = ask(_read(path), parameters)
            except AnswerError as error:
                failed += 1
                _tell_failure(path, error, options.json)
            else:
                _tell(path, answer, options)
    return 1 if failed else 0


@contextlib.contextmanager
def _asked(options: argparse.Namespace) -> Iterator[Ask]:
    if options.api:
        yield api.Api(options.api, options.token, options.timeout).ask
    elif options.model:
        with (
            tempfile.TemporaryDirectory(prefix="ogiri-caption-") as folder,
            model.serving(options.model, Path(folder), options.timeout) as ask,
        ):
            yield ask
    else:
        yield endpoint.Endpoint(Places(options).get(ENDPOINT), options.timeout).ask


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for pair in options.parameter:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise CommandError(f"--parameter is {pair!r}: it must be NAME=VALUE, as seed=1")
        try:
            parameters[name] = json.loads(text)
        except ValueError:
            parameters[name] = text
    if options.candidates is not None:
        parameters["num_candidates"] = options.candidates
    return parameters


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AnswerError(f"it cannot be read: {error.strerror}") from error


def _tell(path: Path, answer: Answer, options: argparse.Namespace) -> None:
    if options.json:
        _print_json({"picture": str(path), **answer.to_json()})
        return
    if len(options.pictures) > 1:
        print(f"{path}:")
    for caption in answer.captions:
        print(caption["text"], flush=True)
    for notice in answer.notices:
        print(f"ogiri: {path}: {notice}", file=sys.stderr)


def _tell_failure(path: Path, error: AnswerError, as_json: bool) -> None:
    if as_json:
        _print_json({"picture": str(path), "error": str(error)})
    print(f"ogiri: {path}: {error}", file=sys.stderr)


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)
