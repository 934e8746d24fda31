"""ogiri: rows into an account, lines out of it.

scripts/ogiri upload rows.csv --wait
scripts/ogiri caption cat.jpg
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from cli import caption, forget, inspection, results, upload
from cli.errors import CommandError

COMMANDS = {
    "upload": upload,
    "caption": caption,
    "inspect": inspection,
    "results": results,
    "forget": forget,
}


def build_parser() -> argparse.ArgumentParser:
    """Of all commands; what it reads has `run`."""
    parser = argparse.ArgumentParser(prog="ogiri", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        doc = module.__doc__ or ""
        command = commands.add_parser(
            name, help=doc.partition("\n")[0], description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 not or not all of it, 2 wrong options, 130 interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (CommandError, ClientError, BotoCoreError, Boto3Error) as error:
        print(f"ogiri: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("ogiri: interrupted", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
