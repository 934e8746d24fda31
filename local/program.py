"""A program of this folder from its start to its exit code: signals end it in order, expected errors are one line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from local import interruption, job, stage
from local.options import OptionError
from local.process import ProcessError
from ogiri_aws.ingest import IngestError
from ogiri_aws.rows import CsvError

_EXPECTED = (
    stage.DemoError,
    OptionError,
    CsvError,
    IngestError,
    job.JobError,
    ProcessError,
    ClientError,
    BotoCoreError,
)


def run(name: str, action: Callable[[], None], *expected: type[Exception]) -> int:
    """Run `action`; returns the exit code.

    Args:
        name: begins the line that says what went wrong.
        action: what the program does.
        expected: errors beside the usual ones whose message says it all.
    """
    interruption.install()
    known: tuple[type[Exception], ...] = (*_EXPECTED, *expected)
    try:
        action()
    except known as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; everything it started has ended", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    return 0
