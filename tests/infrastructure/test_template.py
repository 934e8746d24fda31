"""What must hold of template.yaml, whatever a linter thinks of it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml
from reading import ROOT, TEMPLATE, functions, listed, resources, statements, template, text

from ogiri_aws import settings

SETTINGS = {
    "prepare": settings.PrepareSettings,
    "ingest": settings.IngestSettings,
    "start_training": settings.StartTrainingSettings,
    "end_training": settings.EndTrainingSettings,
    "caption_api": settings.CaptionSettings,
}
NOT_OURS = {"AWS_MAX_ATTEMPTS"}  # boto3 reads it
FUNCTION_ASYNC = "end_training"  # the only one that nobody waits for


def variables(name: str) -> dict:
    return functions()[name]["Properties"]["Environment"]["Variables"]


@pytest.mark.parametrize("name", SETTINGS)
def test_each_function_is_given_every_variable_it_reads_and_no_other(name):
    read = {field.name.upper() for field in fields(SETTINGS[name])}
    assert set(variables(name)) - NOT_OURS == read


def test_every_variable_that_the_document_lists_is_set():
    document = (ROOT / "lambda" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\*\*`.*) \|$", document, re.MULTILINE)
    assert {name for name, _ in rows} == set(SETTINGS)
    for name, row in rows:
        assert set(re.findall(r"`([A-Z][A-Z_]+)`", row)) <= set(variables(name)) | {"PROJECT-KIND"}, name


def test_every_handler_is_a_file_and_every_file_a_function():
    files = {path.stem for path in (ROOT / "lambda" / "functions").glob("*.py")}
    assert set(functions()) == files


def test_memory_and_timeouts_are_those_of_the_document():
    limits = {
        name: (value["Properties"]["MemorySize"], value["Properties"]["Timeout"]) for name, value in functions().items()
    }
    assert limits == {
        "prepare": (1024, 900),
        "ingest": (1024, 900),
        "start_training": (256, 300),
        "end_training": (256, 900),
        "caption_api": (1024, 30),
    }
    assert functions()["end_training"]["Properties"]["ReservedConcurrentExecutions"] == 1


def test_a_function_has_dead_letters_or_says_why_not():
    for name, value in functions().items():
        config = value["Properties"].get("EventInvokeConfig")
        reasons = {skip["id"]: skip["comment"] for skip in value["Metadata"]["checkov"]["skip"]}
        if name == FUNCTION_ASYNC:
            assert config["DestinationConfig"]["OnFailure"]["Type"] == "SQS"
            assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (2, 6 * 3600)
        else:
            assert "waits for it" in reasons["CKV_AWS_116"], name


def test_every_target_of_a_rule_tries_again_and_has_dead_letters():
    rules = resources("AWS::Events::Rule")
    assert len(rules) == 3
    for rule in rules.values():
        for target in rule["Properties"]["Targets"]:
            assert target["RetryPolicy"]["MaximumRetryAttempts"] >= 2
            assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 6 * 3600
            assert text(target["DeadLetterConfig"]["Arn"]).endswith("DeadLetters.Arn")


def test_every_dead_letter_queue_has_an_alarm_and_takes_letters_from_its_rules_alone():
    alarms = [str(value["Properties"]) for value in resources("AWS::CloudWatch::Alarm").values()]
    for queue in resources("AWS::SQS::Queue"):
        assert any(f"{queue}.QueueName" in alarm for alarm in alarms), queue
    for policy in resources("AWS::SQS::QueuePolicy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            assert "aws:SourceArn" in statement["Condition"]["ArnEquals"]


def test_each_function_has_a_role_of_its_own():
    roles = [text(value["Properties"]["Role"]) for value in functions().values()]
    assert len(set(roles)) == len(roles) == 5


def test_a_wildcard_resource_has_its_reason_beside_it():
    lines = [line for line in TEMPLATE.read_text().splitlines() if re.search(r'Resource: "\*"', line)]
    assert lines
    assert [line for line in lines if not re.search(r"  # \w", line)] == []


def test_no_role_may_do_all_of_a_service_or_pass_on_any_role():
    for name, role in resources("AWS::IAM::Role").items():
        for statement in statements(role):
            for action in listed(statement["Action"]):
                assert not (isinstance(action, str) and action.endswith(":*")), name
                if action == "iam:PassRole":
                    assert text(statement["Resource"]) in ("TrainingRole.Arn", "ServingRole.Arn")
                    assert statement["Condition"]["StringEquals"]["iam:PassedToService"] == "sagemaker.amazonaws.com"


def test_each_role_can_be_bounded():
    for role in resources("AWS::IAM::Role").values():
        assert role["Properties"]["PermissionsBoundary"]["Fn::If"][0] == "Bounded"


def granted(role: str) -> set[str]:
    found: set[str] = set()
    for statement in statements(template()["Resources"][role]):
        for action in listed(statement["Action"]):
            found |= set(action["Fn::If"][1:]) if isinstance(action, dict) else {action}
    return found


def test_functions_may_do_what_the_document_says_and_no_more():
    document = (ROOT / "lambda" / "README.md").read_text().partition("## Permissions")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", document, re.MULTILINE))
    own = {"logs:CreateLogStream", "logs:PutLogEvents", "s3:AbortMultipartUpload", "sqs:SendMessage"}
    for name, row in rows.items():
        service, documented = "", set()
        for word in re.findall(r"`([a-z0-9]+:[A-Za-z]+|[A-Z][A-Za-z]+)`", row):
            service, _, action = word.rpartition(":") if ":" in word else (service, "", word)
            documented.add(f"{service}:{action}")
        role = text(functions()[name]["Properties"]["Role"]).removesuffix(".Arn")
        actions = {action for action in granted(role) if not action.startswith("ec2:")} - own
        assert actions == documented, name


def test_what_data_lies_in_outlives_the_stack():
    kept = {name for name, value in template()["Resources"].items() if value.get("DeletionPolicy") == "Retain"}
    assert {"Bucket", "TrainingDataTable", "ResultsTable"} <= kept


def test_the_tables_have_the_keys_that_the_code_uses():
    tables = {name: value["Properties"] for name, value in resources("AWS::DynamoDB::Table").items()}
    keys = {name: [key["AttributeName"] for key in value["KeySchema"]] for name, value in tables.items()}
    assert keys == {"TrainingDataTable": ["ImageKey", "ExpectedResult"], "ResultsTable": ["ResultId"]}
    assert tables["ResultsTable"]["TimeToLiveSpecification"]["AttributeName"] == "ExpiresAt"
    for table in tables.values():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]


def test_the_bucket_is_closed_versioned_and_tells_eventbridge():
    bucket = template()["Resources"]["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"]


def test_temporary_folders_end_and_no_other():
    rules = template()["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    ended = {rule["Prefix"] for rule in rules if "ExpirationInDays" in rule}
    assert ended == {"ingest/", "requests/", "answers/", "captioned/", "checkpoints/"}


def test_a_job_that_ends_in_any_way_reaches_end_training():
    pattern = resources("AWS::Events::Rule")["JobRule"]["Properties"]["EventPattern"]
    assert pattern["detail-type"] == ["SageMaker Training Job State Change"]
    assert set(pattern["detail"]["TrainingJobStatus"]) == {"Completed", "Failed", "Stopped"}


def test_the_api_has_the_routes_of_the_function():
    routes = {value["Properties"]["RouteKey"] for value in resources("AWS::ApiGatewayV2::Route").values()}
    assert routes == {"POST /captions", "GET /results/{id}", "POST /results/{id}/score"}


def test_every_parameter_and_condition_is_used():
    source = TEMPLATE.read_text()
    for name in template()["Parameters"]:
        assert re.search(rf"!Ref {name}\b|\$\{{{name}\}}", source), name
    body = source.partition("Conditions:")[2]
    for name in template()["Conditions"]:
        assert len(re.findall(rf"\b{name}\b", body)) > 1, name


def test_the_template_has_no_anchors():
    """CloudFormation resolves none."""
    assert not [event for event in yaml.parse(TEMPLATE.read_text(), yaml.SafeLoader) if getattr(event, "anchor", None)]


def test_the_layer_holds_what_every_handler_imports(tmp_path):
    subprocess.run(
        ["make", "-s", "-C", str(ROOT / "lambda" / "layer"), "sources", f"ARTIFACTS_DIR={tmp_path}"], check=True
    )
    script = (
        "import ogiri, ogiri_aws, runpy, sys\n"
        "for path in sys.argv[1:]: runpy.run_path(path)\n"
        "print(ogiri.__path__[0], ogiri_aws.__path__[0])"
    )
    files = [str(path) for path in sorted((ROOT / "lambda" / "functions").glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-c", script, *files],
        env={"PYTHONPATH": str(tmp_path / "python"), "AWS_DEFAULT_REGION": "ap-northeast-1"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert all(place.startswith(str(tmp_path)) for place in done.stdout.split())
