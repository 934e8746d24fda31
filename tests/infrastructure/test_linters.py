"""What linters of templates think, where they are installed: in build/tools (scripts/tools.sh) or on PATH."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest
from reading import ROOT, TEMPLATE, resources, statements

TOOLS = ROOT / "build" / "tools" / "bin"
SCRIPTS = [ROOT / "scripts" / name for name in ("deploy.sh", "destroy.sh")]
EXPLAINED = (
    "'ec2:CreateNetworkInterface'",  # interfaces in a VPC have no name before they exist
    "arn:*:states:*:*:express:",  # parliament knows states:DescribeExecution of express machines alone
    "does allow s3:PutLifecycleConfiguration",  # lifecycle and policy of the bucket are part of the stack, and
    "does allow s3:PutBucketPolicy",  # docs/deploy.md says what a deployer can do with them
)


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The tool's answer; the test is skipped where it is not installed."""
    program = shutil.which(tool, path=f"{TOOLS}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{tool} is not installed: scripts/tools.sh")
    environment = {**os.environ, "AWS_DEFAULT_REGION": "ap-northeast-1", "SAM_CLI_TELEMETRY": "0"}
    environment["PYTHONWARNINGS"] = "ignore"  # parliament's own, of a package that it imports
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL
    )


def unexplained(policy: str) -> list[str]:
    """What parliament finds in a policy, without what is explained."""
    printed = run("parliament", "--string", policy)
    assert not printed.stderr, printed.stderr
    return [line for line in printed.stdout.splitlines() if not any(known in line for known in EXPLAINED)]


def test_cfn_lint_finds_nothing():
    done = run("cfn-lint", str(TEMPLATE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = run("hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_sam_finds_nothing():
    done = run("sam", "validate", "--lint", "--template", str(TEMPLATE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_checkov_finds_nothing_that_is_not_explained():
    done = run("checkov", "--skip-download", "--compact", "--quiet", "--file", str(TEMPLATE))
    assert done.returncode == 0, done.stdout + done.stderr


def test_parliament_finds_nothing_in_the_deployers_policy():
    assert unexplained((ROOT / "docs" / "deployer-policy.json").read_text()) == []


def test_parliament_finds_nothing_in_the_policy_of_any_role():
    entries = [entry for role in resources("AWS::IAM::Role").values() for entry in statements(role)]
    numbered = [{**_plain(entry), "Sid": f"Statement{number}"} for number, entry in enumerate(entries)]
    assert unexplained(json.dumps({"Version": "2012-10-17", "Statement": numbered})) == []


ARNS = {
    "Bucket": "arn:aws:s3:::ogiri-pictures",
    "TrainingDataTable": "arn:aws:dynamodb:ap-northeast-1:123456789012:table/OgiriTrainingDataTable",
    "ResultsTable": "arn:aws:dynamodb:ap-northeast-1:123456789012:table/OgiriResultsTable",
    "Topic": "arn:aws:sns:ap-northeast-1:123456789012:ogiri-alarms",
    "Machine": "arn:aws:states:ap-northeast-1:123456789012:stateMachine:ogiri-ingest",
    "EndTrainingDeadLetters": "arn:aws:sqs:ap-northeast-1:123456789012:ogiri-dead-letters",
    "VolumeKmsKeyArn": "arn:aws:kms:ap-northeast-1:123456789012:key/1",
    "MlflowTrackingServerArn": "arn:aws:sagemaker:ap-northeast-1:123456789012:mlflow-tracking-server/ogiri",
    "PictureBuckets": "arn:aws:s3:::pictures/*",
    "Project": "ogiri",
    "EndpointKind": "serverless",
    "ImageRepository": "ogiri",
    "ServingImageRepository": "ogiri-serving",
    "AWS::Partition": "aws",
    "AWS::Region": "ap-northeast-1",
    "AWS::AccountId": "123456789012",
}


def _plain(value: Any) -> Any:
    """A policy with everything filled in, as CloudFormation would."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    (name, inner), *others = value.items()
    if others or not (name == "Ref" or name.startswith("Fn::")):
        return {key: _plain(part) for key, part in value.items()}
    if name == "Fn::If":
        return _plain(inner[1])
    if name == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda match: _arn(match[1]), inner)
    return _arn(inner)


def _arn(name: str) -> str:
    name = name.removesuffix(".Arn")
    if name.endswith("LogGroup"):
        return f"arn:aws:logs:ap-northeast-1:123456789012:log-group:{name}"
    if name.endswith("Function"):
        return f"arn:aws:lambda:ap-northeast-1:123456789012:function:{name}"
    return f"arn:aws:iam::123456789012:role/{name}" if name.endswith("Role") else ARNS[name]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_say_how_they_are_called(script):
    done = subprocess.run([str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script.relative_to(ROOT)}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_name_an_argument_they_do_not_know(script):
    done = subprocess.run([str(script), "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
