"""Where things are in AWS: an option, else a variable, else an output of the CloudFormation stack."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import cached_property

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import CommandError

STACK = "ogiri"


@dataclass(frozen=True)
class Place:
    """A name that a command needs.

    Attributes:
        what: it names, for people.
        option: of the command line.
        variable: as the Lambdas have it; `make local` exports some.
        output: of the stack.
    """

    what: str
    option: str
    variable: str
    output: str


BUCKET = Place("bucket", "--bucket", "BUCKET", "BucketName")
TABLE = Place("table of records", "--table", "DYNAMODB_TABLE_NAME", "TrainingTableName")
RESULTS = Place("table of answers", "--results-table", "RESULTS_TABLE_NAME", "ResultsTableName")
ENDPOINT = Place("endpoint", "--endpoint", "ENDPOINT_NAME", "EndpointName")
MACHINE = Place("state machine", "--machine", "STATE_MACHINE_ARN", "MachineArn")


def add_options(parser: argparse.ArgumentParser, *places: Place) -> None:
    """Give a command the options of the places that it needs."""
    for place in places:
        parser.add_argument(place.option, metavar="NAME", help=f"{place.what} (else ${place.variable}, else the stack)")
    parser.add_argument("--stack", default=STACK, metavar="NAME", help=f"of CloudFormation ({STACK})")


@dataclass(frozen=True)
class Places:
    """The names, looked up when they are needed.

    Attributes:
        options: of a command that has `add_options`.
    """

    options: argparse.Namespace

    def get(self, place: Place) -> str:
        """The name.

        Raises:
            CommandError: none of the three ways has one.
        """
        name = self.find(place)
        if name is None:
            _, trouble = self._stack
            raise CommandError(
                f"no {place.what} is known: name it with {place.option}, set {place.variable}, or let --stack name the "
                f"stack of template.yaml ({trouble or f'{self.options.stack!r} has no output {place.output}'})"
            )
        return name

    def find(self, place: Place) -> str | None:
        """The name, or None where a command can do without."""
        given = getattr(self.options, place.option.removeprefix("--").replace("-", "_"), None)
        return given or os.environ.get(place.variable) or self._stack[0].get(place.output)

    def project(self) -> str:
        """What names of jobs begin with: the variable PROJECT, else the stack's name, as deploy.sh gives it."""
        return os.environ.get("PROJECT") or str(self.options.stack)

    @cached_property
    def _stack(self) -> tuple[dict[str, str], str]:
        """The outputs of the stack; or none, and why."""
        name = self.options.stack
        try:
            (stack,) = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except (ClientError, BotoCoreError) as error:
            return {}, f"{name!r} cannot be read: {error}"
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}, ""
