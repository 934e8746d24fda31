"""S3, DynamoDB, SNS, Rekognition and SageMaker on this machine, and the rule that deploys what was trained.

    make local

Ends with Ctrl-C, and all that it started with it. What it prints lets any program with boto3 work with it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shlex
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from local import program
from local.aws import EmbeddedAWS, embedded_aws
from local.rekognition import rekognition_server
from local.sagemaker.functions import end_training
from local.sagemaker.service import local_sagemaker
from local.sagemaker.shelf import ACCOUNT

PROJECT = "ogiri"
KIND = "serverless"
ENDPOINT = f"{PROJECT}-{KIND}"
_ROLE = f"arn:aws:iam::{ACCOUNT}:role"


@contextlib.contextmanager
def local_cloud(
    folder: Path, *, pretrained: Path | None = None, text: str = "auto", engine: str | None = None
) -> Iterator[EmbeddedAWS]:
    """All of it, for as long as the block lasts; this process's own environment leads to it meanwhile.

    The environment of what is yielded holds the addresses and the settings of the Lambdas. A job that has ended is told
    to `end_training`, which puts its model behind the endpoint.

    Args:
        folder: for logs, jobs and endpoints.
        pretrained: as for `rekognition_server`.
        text: likewise.
        engine: as for `local_sagemaker`.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        aws = stack.enter_context(embedded_aws(log=logs / "aws.log"))
        eyes = stack.enter_context(
            rekognition_server(
                aws.process_environment(), pretrained=pretrained, text=text, log=logs / "rekognition.log"
            )
        )
        aws = _with(aws.with_rekognition(eyes.endpoint_url), _settings(aws))
        stack.enter_context(aws.applied())
        url = stack.enter_context(
            local_sagemaker(aws.process_environment(), folder, targets=[end_training], engine=engine)
        )
        aws = _with(aws, {"AWS_ENDPOINT_URL_SAGEMAKER": url, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url})
        os.environ.update(aws.environment)
        yield aws


def _settings(aws: EmbeddedAWS) -> dict[str, str]:
    """What template.yaml sets for the functions."""
    topic = aws.client("sns").create_topic(Name=PROJECT)["TopicArn"]
    return {
        "PROJECT": PROJECT,
        "BUCKET": aws.bucket,
        "DYNAMODB_TABLE_NAME": aws.table,
        "STATE_MACHINE_ARN": f"arn:aws:states:{aws.environment['AWS_REGION']}:{ACCOUNT}:stateMachine:{PROJECT}",
        "TRAINING_IMAGE": PROJECT,
        "TRAINING_ROLE_ARN": f"{_ROLE}/{PROJECT}-training",
        "SERVING_IMAGE": PROJECT,
        "SERVING_ROLE_ARN": f"{_ROLE}/{PROJECT}-serving",
        "TOPIC_ARN": topic,
        "ENDPOINT_KIND": KIND,
        "ENDPOINT_NAME": ENDPOINT,
        "ENDPOINT_WAIT_SECONDS": "1",
    }


def _with(aws: EmbeddedAWS, more: dict[str, str]) -> EmbeddedAWS:
    return dataclasses.replace(aws, environment={**aws.environment, **more})


def exports(aws: EmbeddedAWS) -> str:
    """Lines for a shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(aws.environment.items()))


def main() -> int:
    """Run until a signal comes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker.cloud", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="for logs, jobs and endpoints; a temporary one by default")
    parser.add_argument("--pretrained", type=Path, help="folder with a classifier's weights, for labels")
    parser.add_argument("--engine", choices=("podman", "docker"), help="run images instead of container/")
    options = parser.parse_args()
    return program.run("local", lambda: _run(options.folder, options.pretrained, options.engine))


def _run(folder: Path | None, pretrained: Path | None, engine: str | None) -> None:
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ogiri-local-")))
        aws = stack.enter_context(local_cloud(folder, pretrained=pretrained, engine=engine))
        print(f"S3, DynamoDB, SNS        {aws.environment['AWS_ENDPOINT_URL']}")
        print(f"Rekognition              {aws.environment['AWS_ENDPOINT_URL_REKOGNITION']}")
        print(f"SageMaker and its runtime {aws.environment['AWS_ENDPOINT_URL_SAGEMAKER']}")
        print(f"Logs, jobs, endpoints    {folder}\n\n{exports(aws)}\n\nCtrl-C ends it.", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
