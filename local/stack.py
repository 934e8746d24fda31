"""The stack of template.yaml in an AWS on this machine, as `sam deploy` makes it in an account."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from local.aws import EmbeddedAWS
from local.job import ROOT

TEMPLATE = ROOT / "template.yaml"
_LOCAL_FILES = re.compile(r"\b(CodeUri|ContentUri|DefinitionUri): (?!s3:)(\S+)")


class StackError(RuntimeError):
    """A stack that was not created; the message has CloudFormation's reason."""


def deploy(aws: EmbeddedAWS, name: str, artifacts: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Create the stack, or update it; returns its outputs.

    Args:
        aws: with CloudFormation; see `functions` of `embedded_aws`.
        name: of the stack.
        artifacts: bucket for the code and the definitions that the template names by path.
        parameters: of the template; the others keep their defaults.

    Raises:
        StackError: it was not created.
    """
    s3, client = aws.client("s3"), aws.client("cloudformation")

    def uploaded(found: re.Match[str]) -> str:
        path = ROOT / found[2]
        s3.put_object(
            Bucket=artifacts, Key=found[2].strip("/"), Body=_zipped(path) if path.is_dir() else path.read_bytes()
        )
        return f"{found[1]}: s3://{artifacts}/{found[2].strip('/')}"

    body = _LOCAL_FILES.sub(uploaded, TEMPLATE.read_text(encoding="utf-8"))
    known = {stack["StackName"] for stack in client.list_stacks()["StackSummaries"]}
    action = client.update_stack if name in known else client.create_stack
    action(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise StackError(f"stack {name} is {stack['StackStatus']}: {stack.get('StackStatusReason', 'no reason given')}")
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


def _zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.py")):
            archive.write(path, path.relative_to(folder))
    return packed.getvalue()
