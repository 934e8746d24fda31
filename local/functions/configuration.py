"""What a function is: how it is called, what it is told, how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError


@dataclass(frozen=True)
class Configuration:
    """Of one function, as its stack has it.

    Attributes:
        name: of the function.
        handler: `prepare.lambda_handler`.
        variables: its environment.
        seconds: that a call may take.
        memory_mb: is told to it; nothing holds it to that here.
        reserved: calls at a time, None for no bound of its own.
    """

    name: str
    handler: str
    variables: Mapping[str, str]
    seconds: int
    memory_mb: int
    reserved: int | None = None


def configuration(client: Any, name: str, **replaced: str) -> Configuration | None:
    """What Lambda's API says of a function; None if there is no such function.

    Args:
        client: of Lambda.
        name: its name or its ARN.
        replaced: variables that have another value here, where the function has them.
    """
    try:
        found = client.get_function(FunctionName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    told = found["Configuration"]
    return Configuration(
        told["FunctionName"],
        told["Handler"],
        {key: replaced.get(key, str(value)) for key, value in told.get("Environment", {}).get("Variables", {}).items()},
        told["Timeout"],
        told["MemorySize"],
        found.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
    )
