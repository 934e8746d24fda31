"""The stack is created and updated: by what `make local` does, and by `sam build` and `sam deploy` themselves."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import ROOT, TEMPLATE, template

from local.aws import EmbeddedAWS, embedded_aws
from local.emulation.serverless import expanded
from local.stack import deploy

TOOLS = ROOT / "build" / "tools" / "bin"
ARTIFACTS = "artifacts"
IMAGE = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/ogiri:1"
SMALL = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/small:1"
NOBODY = "http://127.0.0.1:9"  # no function is called here
UNKNOWN = {  # to moto's CloudFormation; docs/local.md says what that means
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}
REFERS_TO_UNKNOWN = {"ApiPermission", "Dashboard"}  # to the HTTP API


@pytest.fixture
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws(bucket=ARTIFACTS, table=None, functions=NOBODY) as started:
        yield started


def variables(aws: EmbeddedAWS, function: str) -> dict:
    return aws.client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]


def created(aws: EmbeddedAWS, stack: str) -> set[str]:
    found = aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    return {entry["LogicalResourceId"] for entry in found if "LogicalResourceId" in entry}


def expected() -> set[str]:
    """What has no condition, or one that holds with the defaults, and is known."""
    everything = template()["Resources"]
    return {
        name
        for name, value in everything.items()
        if "Condition" not in value and value["Type"] not in UNKNOWN and name not in REFERS_TO_UNKNOWN
    }


def test_the_stack_is_created_and_a_changed_parameter_updates_it(aws: EmbeddedAWS):
    outputs = deploy(aws, "ogiri", ARTIFACTS, {"ImageUri": IMAGE})
    assert created(aws, "ogiri") == expected()
    bucket = outputs["BucketName"]
    assert variables(aws, "ogiri-ingest")["BUCKET"] == bucket
    assert aws.client("s3").get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    machine = aws.client("stepfunctions").describe_state_machine(stateMachineArn=outputs["MachineArn"])
    assert bucket in machine["definition"]
    aws.client("s3").put_object(Bucket=bucket, Key="images/kept.png", Body=b"picture")

    assert variables(aws, "ogiri-end-training")["SERVING_IMAGE"] == IMAGE
    changed = {"KeepModels": "7", "TrainingSpot": "true", "ServingImageUri": SMALL, "ServingImageRepository": "small"}
    again = deploy(aws, "ogiri", ARTIFACTS, {"ImageUri": IMAGE, **changed})
    assert again == outputs
    assert created(aws, "ogiri") == expected()
    assert str(variables(aws, "ogiri-end-training")["KEEP_MODELS"]) == "7"
    assert variables(aws, "ogiri-start-training")["TRAINING_SPOT"] == "true"
    assert variables(aws, "ogiri-start-training")["TRAINING_IMAGE"] == IMAGE
    assert variables(aws, "ogiri-end-training")["SERVING_IMAGE"] == SMALL
    assert aws.client("s3").get_object(Bucket=bucket, Key="images/kept.png")["Body"].read() == b"picture"


def sam(aws: EmbeddedAWS, *arguments: str) -> str:
    if not (TOOLS / "sam").is_file():
        pytest.skip("sam is not installed: scripts/tools.sh")
    url = aws.endpoint_url.replace("127.0.0.1", "localhost")  # sam puts the bucket's name before an address else
    environment = {**aws.process_environment(), "AWS_ENDPOINT_URL": url, "SAM_CLI_TELEMETRY": "0"}
    environment["PATH"] = f"{TOOLS}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [TOOLS / "sam", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sam_builds_deploys_and_deploys_again(aws: EmbeddedAWS, tmp_path: Path):
    sam(aws, "build", "--build-in-source", "--build-dir", str(tmp_path / "sam"))
    assert (tmp_path / "sam" / "OgiriLayer" / "python" / "ogiri" / "record.py").is_file()
    common = ["deploy", "--template-file", str(tmp_path / "sam" / "template.yaml"), "--stack-name", "ogiri"]
    common += ["--s3-bucket", ARTIFACTS, "--capabilities", "CAPABILITY_IAM", "--no-progressbar"]
    sam(aws, *common, "--parameter-overrides", f"ImageUri={IMAGE}")
    assert created(aws, "ogiri") == expected()
    assert str(variables(aws, "ogiri-end-training")["KEEP_MODELS"]) == "3"
    assert aws.client("stepfunctions").list_state_machines()["stateMachines"][0]["name"] == "ogiri-ingest"

    sam(aws, *common, "--parameter-overrides", f"ImageUri={IMAGE}", "KeepModels=7")
    assert created(aws, "ogiri") == expected()
    assert str(variables(aws, "ogiri-end-training")["KEEP_MODELS"]) == "7"
    assert str(variables(aws, "ogiri-end-training")["GATE_TOLERANCE"]) == "0.05"


TRANSFORM = """
import json, sys, boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse
template = yaml_parse(sys.stdin.read())
class Policies:
    def load(self): return {}
print(json.dumps(transform(template, {}, Policies()), default=str))
"""


def test_serverless_types_become_what_sams_own_transform_makes_of_them():
    python = TOOLS / "python"
    if not (TOOLS / "sam").is_file():
        pytest.skip("SAM's transform is not installed: scripts/tools.sh")
    source = TEMPLATE.read_text()
    for name, place in (("CodeUri: lambda/functions/", "f"), ("ContentUri: lambda/layer/", "l")):
        assert name in source
        source = source.replace(name, f"{name.split(':')[0]}: s3://b/{place}")
    source = source.replace("DefinitionUri: statemachine/ingest.asl.json", "DefinitionUri: s3://b/m")
    done = subprocess.run(
        [python, "-c", TRANSFORM],
        input=source,
        capture_output=True,
        text=True,
        env={"AWS_DEFAULT_REGION": "ap-northeast-1"},
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)["Resources"]
    ours = expanded(_read(source), lambda bucket, key: "{}")["Resources"]
    compared = 0
    for name, value in ours.items():
        if value["Type"] == "AWS::Lambda::Function":
            own = {key: part for key, part in theirs[name]["Properties"].items() if key not in ("Tags", "Layers")}
            assert {key: part for key, part in value["Properties"].items() if key != "Layers"} == own, name
            compared += 1
        elif value["Type"] == "AWS::StepFunctions::StateMachine":
            given = ("DefinitionString", "DefinitionS3Location", "DefinitionSubstitutions", "Tags")
            own = {key: part for key, part in theirs[name]["Properties"].items() if key not in given}
            assert {key: part for key, part in value["Properties"].items() if key not in given} == own
            compared += 1
    assert compared == 6


def _read(source: str) -> dict:
    """As moto reads a template: long forms, and GetAtt as a list."""
    import yaml
    from moto.cloudformation.utils import yaml_tag_constructor

    yaml.add_multi_constructor("", yaml_tag_constructor, yaml.Loader)
    return yaml.load(source, yaml.Loader)
