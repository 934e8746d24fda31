"""The two APIs of SageMaker alone, beside an S3 and a DynamoDB that run already.

AWS_ENDPOINT_URL=http://127.0.0.1:5000 … python -m local.sagemaker --folder build/sagemaker
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

from local import program
from local.options import OptionError
from local.sagemaker.event import post_to
from local.sagemaker.service import local_sagemaker

NEEDED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


def main() -> int:
    """Serve until a signal comes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--folder", type=Path, default=Path("build/sagemaker"), help="for jobs and endpoints")
    parser.add_argument("--events", action="append", default=[], help="URL that gets the events of training jobs")
    parser.add_argument("--engine", choices=("podman", "docker"), help="run images instead of container/")
    options = parser.parse_args()
    return program.run("sagemaker", lambda: _serve(options))


def _serve(options: argparse.Namespace) -> None:
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise OptionError(f"{', '.join(missing)} not set: they say where S3 is; `make local` starts one too")
    targets = [post_to(url) for url in options.events]
    with local_sagemaker(
        dict(os.environ), options.folder, port=options.port, targets=targets, engine=options.engine
    ) as url:
        print(f"listening on {url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
