"""The stack of template.yaml on this machine: S3, DynamoDB, EventBridge, the state machine, the functions, SageMaker.

    make local

A CSV below uploads/ in its bucket starts the state machine. Ends with Ctrl-C, and all that it started with it. What it
prints lets any program with boto3 work with it.
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local import program
from local.aws import REGION, EmbeddedAWS, embedded_aws
from local.functions.configuration import configuration
from local.functions.runtime import Processes, Runtime
from local.functions.server import functions_server
from local.options import OptionError
from local.rekognition import Rekognition, rekognition_server
from local.sagemaker.event import put_to
from local.sagemaker.service import local_sagemaker
from local.sagemaker.shelf import ACCOUNT
from local.stack import StackError, deploy

PROJECT = "ogiri"
ARTIFACTS = f"{PROJECT}-artifacts"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{PROJECT}:latest"
BUCKET = f"{PROJECT}-{ACCOUNT}-{REGION}"
PICTURES = "pictures/"  # of the bucket: where a CSV's s3:// addresses may point to
IN_THE_WAY = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE")  # of a real account
LOOK_SECONDS = "1"  # between two looks at an endpoint that is being changed; here that takes seconds, not minutes


@dataclass(frozen=True)
class Cloud:
    """What runs.

    Attributes:
        aws: its environment leads to everything; bucket and table are those of the stack.
        endpoint: name that the stack's endpoint will have.
        machine: ARN of the state machine.
        topic: ARN of who is told of failures.
        rekognition: what stands in for it.
    """

    aws: EmbeddedAWS
    endpoint: str
    machine: str
    topic: str
    rekognition: Rekognition


@contextlib.contextmanager
def local_cloud(
    folder: Path,
    *,
    parameters: Mapping[str, str] | None = None,
    pretrained: Path | None = None,
    text: str = "auto",
    engine: str | None = None,
    runtime: Runtime | None = None,
) -> Iterator[Cloud]:
    """All of it, for as long as the block lasts; this process's own environment leads to it meanwhile.

    Args:
        folder: for logs, jobs and endpoints.
        parameters: of template.yaml.
        pretrained: as for `rekognition_server`.
        text: likewise.
        engine: as for `local_sagemaker`.
        runtime: runs the functions, by default as processes of this Python.

    Raises:
        StackError: the template was refused.
        ProcessError: a server does not start.
    """
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        functions = stack.enter_context(functions_server(runtime or Processes(), logs))
        log = logs / "aws.log"
        aws = stack.enter_context(embedded_aws(bucket=ARTIFACTS, table=None, log=log, functions=functions.url))
        eyes = stack.enter_context(
            rekognition_server(
                aws.process_environment(), pretrained=pretrained, text=text, log=logs / "rekognition.log"
            )
        )
        aws = aws.with_rekognition(eyes.endpoint_url)
        stack.enter_context(aws.applied())
        tell = put_to(aws.client("events"))
        url = stack.enter_context(local_sagemaker(aws.process_environment(), folder, targets=[tell], engine=engine))
        addresses = {"AWS_ENDPOINT_URL_SAGEMAKER": url, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url}
        aws = dataclasses.replace(aws, environment={**aws.environment, **addresses})
        os.environ.update(addresses)
        outputs = deploy(aws, PROJECT, ARTIFACTS, _parameters(parameters or {}))
        client = aws.client("lambda")
        functions.functions.environment = aws.process_environment()
        functions.functions.find = lambda name: configuration(client, name, ENDPOINT_WAIT_SECONDS=LOOK_SECONDS)
        table = outputs["TablesKept"].split()[0]
        aws = dataclasses.replace(aws, bucket=outputs["BucketName"], table=table)
        stack.callback(functions.functions.close)  # before what they talk to
        yield Cloud(aws, outputs["EndpointName"], outputs["MachineArn"], outputs["TopicArn"], eyes)


def _parameters(given: Mapping[str, str]) -> dict[str, str]:
    own = {"Project": PROJECT, "ImageUri": IMAGE, "PictureBuckets": f"arn:aws:s3:::{BUCKET}/{PICTURES}*"}
    return {**own, **given}


def exports(cloud: Cloud) -> str:
    """Lines for a shell."""
    names = {"BUCKET": cloud.aws.bucket, "ENDPOINT_NAME": cloud.endpoint, "STATE_MACHINE_ARN": cloud.machine}
    variables = {**cloud.aws.environment, **names}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    return "\n".join([f"unset {' '.join(IN_THE_WAY)}", *lines])


def main() -> int:
    """Run until a signal comes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.sagemaker.cloud", description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="for logs, jobs and endpoints; a temporary one by default")
    parser.add_argument("--pretrained", type=Path, help="folder with a classifier's weights, for labels")
    parser.add_argument("--engine", choices=("podman", "docker"), help="run images instead of container/")
    parser.add_argument("--image", default=IMAGE, help="image that the engine runs")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="of template.yaml")
    return program.run("local", lambda: _run(parser.parse_args()), StackError)


def _run(options: argparse.Namespace) -> None:
    parameters = {"ImageUri": options.image}
    for pair in options.parameter:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"{pair!r} is no parameter: write NAME=VALUE")
        parameters[name] = value
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ogiri-local-")))
        cloud = stack.enter_context(
            local_cloud(folder, parameters=parameters, pretrained=options.pretrained, engine=options.engine)
        )
        addresses = cloud.aws.environment
        print(f"S3, DynamoDB, Lambda, Step Functions, …  {addresses['AWS_ENDPOINT_URL']}")
        print(f"Rekognition                              {addresses['AWS_ENDPOINT_URL_REKOGNITION']}")
        print(f"SageMaker and its runtime                {addresses['AWS_ENDPOINT_URL_SAGEMAKER']}")
        print(f"Logs, jobs, endpoints                    {folder}")
        print(f"A CSV starts it                          s3://{cloud.aws.bucket}/uploads/…csv")
        print(f"\n{exports(cloud)}\n\nCtrl-C ends it.", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
