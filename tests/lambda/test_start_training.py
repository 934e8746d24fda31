import json
import re

import pytest
from sagemaker_stand_in import Refused

from ogiri.sagemaker.training.metrics import METRICS, report
from ogiri_aws import jobs
from ogiri_aws.jobs import job_name
from ogiri_aws.settings import StartTrainingSettings
from ogiri_aws.uploads import Upload
from ogiri_aws.variables import SettingsError, read
from tests.handlers import Context, load, object_created

REQUIRED = {
    "PROJECT": "ogiri",
    "BUCKET": "bucket",
    "STATE_MACHINE_ARN": "arn:aws:states:ap-northeast-1:123456789012:stateMachine:ogiri",
    "DYNAMODB_TABLE_NAME": "Records",
    "TRAINING_IMAGE": "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/ogiri:1",
    "TRAINING_ROLE_ARN": "arn:aws:iam::123456789012:role/training-role",
}
UPLOAD = {"bucket": "bucket", "key": "uploads/ボケ rows_1.csv", "version": "v1", "version_id": "v1"}


@pytest.fixture
def start(sagemaker, destination, monkeypatch):
    for name, value in {**REQUIRED, "BUCKET": destination.bucket}.items():
        monkeypatch.setenv(name, value)
    return lambda event: load("start_training").lambda_handler(event, Context())


@pytest.fixture
def job(start, sagemaker):
    """Starts the job of an execution and returns what SageMaker was asked for."""

    def job(execution="run", **upload):
        answer = start({"execution": execution, "upload": {**UPLOAD, **upload}, "rows": 3})
        return sagemaker.jobs[answer["training_job"]]

    return job


def test_the_job_has_the_pictures_the_table_and_the_metrics(job, destination, monkeypatch):
    monkeypatch.setenv("TRAINING_HYPERPARAMETERS", '{"epochs": 3, "encoder": "resnet18", "quantize": false}')
    request = job()
    assert request["HyperParameters"] == {"epochs": "3", "encoder": "resnet18", "quantize": "false"}
    assert request["Environment"]["DYNAMODB_TABLE_NAME"] == "Records"
    assert request["Environment"]["AWS_DEFAULT_REGION"] == "ap-northeast-1"
    (channel,) = request["InputDataConfig"]
    assert (channel["ChannelName"], channel["InputMode"]) == ("training", "File")
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == f"s3://{destination.bucket}/images/"
    assert request["OutputDataConfig"] == {"S3OutputPath": f"s3://{destination.bucket}/models"}
    assert request["CheckpointConfig"]["S3Uri"].endswith("/checkpoints/" + request["TrainingJobName"])
    assert {"Key": "project", "Value": "ogiri"} in request["Tags"]
    assert "VpcConfig" not in request
    assert "EnableManagedSpotTraining" not in request


def test_the_same_event_twice_starts_one_job(start, sagemaker):
    event = {"execution": "first", "upload": UPLOAD}
    first = start(event)
    again = start({**event, "execution": "second"})
    assert (first["started"], again["started"]) == (True, False)
    assert first["training_job"] == again["training_job"]
    assert len(sagemaker.jobs) == 1


def test_the_same_file_uploaded_again_trains_again(start, sagemaker):
    start({"execution": "one", "upload": UPLOAD})
    start({"execution": "two", "upload": {**UPLOAD, "version": "v2"}})
    assert len(sagemaker.jobs) == 2


def test_by_hand_each_execution_has_its_job(start, sagemaker):
    by_hand = {"bucket": "bucket", "key": "uploads/rows.csv"}
    for execution in ("one", "two", "one"):
        start({"execution": execution, "upload": by_hand})
    assert len(sagemaker.jobs) == 2


@pytest.mark.parametrize("key", ["uploads/ボケ.csv", "a" * 300, "uploads/--.csv", "rows 1 (2).csv", "uploads/."])
def test_a_job_has_a_name_that_sagemaker_takes(key):
    name = job_name("ogiri" * 4, Upload("bucket", key, "1"), "run")
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name)


def test_what_sagemaker_refuses_is_raised(job, sagemaker, monkeypatch):
    def refuse(body):
        raise Refused("ResourceLimitExceeded", "no ml.g5.xlarge for you")

    monkeypatch.setattr(sagemaker, "CreateTrainingJob", refuse)
    with pytest.raises(Exception, match=r"no ml\.g5\.xlarge for you"):
        job()


def test_spot_vpc_keys_and_more_tags_are_asked_for_when_set(job, monkeypatch):
    for name, value in {
        "TRAINING_SPOT": "true",
        "TRAINING_MAX_SECONDS": "3600",
        "TRAINING_MAX_WAIT_SECONDS": "7200",
        "SUBNET_IDS": "subnet-1, subnet-2",
        "SECURITY_GROUP_IDS": "sg-1",
        "KMS_KEY_ID": "key",
        "VOLUME_KMS_KEY_ID": "disk",
        "TRAINING_TAGS": '{"team": "funny", "project": "not this"}',
        "TRAINING_ENVIRONMENT": '{"MLFLOW": 1}',
        "PRETRAINED_S3_URI": "s3://weights/resnet/",
    }.items():
        monkeypatch.setenv(name, value)
    request = job()
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert request["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert request["OutputDataConfig"]["KmsKeyId"] == "key"
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == "disk"
    tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    assert tags == {"team": "funny", "project": "ogiri"}
    assert request["Environment"]["MLFLOW"] == "1"
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["training", "pretrained"]


def test_many_pictures_are_streamed(job, s3, destination, monkeypatch):
    for name in ("images/1.jpg", "images/2.jpg", "other/3.jpg"):
        s3.put_object(Bucket=destination.bucket, Key=name, Body=bytes(60))
    monkeypatch.setattr(jobs, "FAST_FILE_BYTES", 121)
    assert job("one", version="1")["InputDataConfig"][0]["InputMode"] == "File"
    monkeypatch.setattr(jobs, "FAST_FILE_BYTES", 120)
    assert job("two", version="2")["InputDataConfig"][0]["InputMode"] == "FastFile"


@pytest.fixture
def served(sagemaker):
    """The endpoint serves the model of that name."""

    def served(model: str) -> None:
        sagemaker.configs["c"] = {"EndpointConfigName": "c", "ProductionVariants": [{"ModelName": model}]}
        sagemaker.configs["c"] |= {"CreationTime": 1, "EndpointConfigArn": "arn:aws:sagemaker:::x/y"}
        sagemaker.CreateEndpoint({"EndpointName": "ogiri-serverless", "EndpointConfigName": "c"})

    return served


@pytest.mark.parametrize(
    ("starts", "uri", "hyperparameter"),
    [
        ("false", "s3://bucket/models/ogiri-old/output/model.tar.gz", "false"),
        ("true", "s3://bucket/models/ogiri-old/output/", None),
    ],
)
def test_a_job_has_the_serving_model_to_compare_with_or_to_start_from(
    job, sagemaker, served, monkeypatch, starts, uri, hyperparameter
):
    monkeypatch.setenv("TRAINING_FROM_SERVING", starts)
    first = job()
    assert [channel["ChannelName"] for channel in first["InputDataConfig"]] == ["training"]
    assert "start_from_model" not in first["HyperParameters"]
    sagemaker.add_job("ogiri-old")
    served("ogiri-old")
    request = job(version="2")
    channel = request["InputDataConfig"][1]
    assert channel["ChannelName"] == "model"
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == uri
    assert request["HyperParameters"].get("start_from_model") == hyperparameter


def test_a_model_of_no_job_is_nothing_to_compare_with(job, served):
    served("somebody-elses")
    assert [channel["ChannelName"] for channel in job()["InputDataConfig"]] == ["training"]


@pytest.fixture
def machine(shared_aws, monkeypatch, start):
    states = shared_aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Pass", "End": True}}})
    arn = states.create_state_machine(
        name="ogiri", definition=definition, roleArn="arn:aws:iam::123456789012:role/states-role"
    )["stateMachineArn"]
    monkeypatch.setenv("STATE_MACHINE_ARN", arn)

    def ended() -> list[dict]:
        """Ends all executions and returns their inputs."""
        runs = [run["executionArn"] for run in states.list_executions(stateMachineArn=arn)["executions"]]
        for run in runs:
            states.stop_execution(executionArn=run)
        return [json.loads(states.describe_execution(executionArn=run)["input"]) for run in runs]

    yield ended
    states.delete_state_machine(stateMachineArn=arn)
    states.close()


def test_by_hand_it_starts_the_state_machine_instead(start, machine, sagemaker):
    assert start({"bucket": "bucket", "key": "uploads/ボケ.csv"})["execution"]
    assert [(run["bucket"], run["key"]) for run in machine()] == [("bucket", "uploads/ボケ.csv")]
    assert not sagemaker.jobs


def test_an_event_starts_the_state_machine_once(start, machine):
    event = object_created("bucket", "uploads/rows.csv", "77")
    first = start(event)
    assert start(event) == first
    (run,) = machine()
    assert run["version"] == "77"
    assert start(event) == first  # when it has ended, too
    assert len(machine()) == 1


def test_the_metric_definitions_find_what_training_prints(job, capsys):
    values = {name: 0.5 + number for number, name in enumerate(METRICS)}
    report({**values, "train_loss": 1e-05})
    log = capsys.readouterr().out
    definitions = job()["AlgorithmSpecification"]["MetricDefinitions"]
    found = {entry["Name"]: float(re.search(entry["Regex"], log)[1]) for entry in definitions}
    assert found == {**values, "train_loss": 1e-05}


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PROJECT", "", "PROJECT is not set"),
        ("PROJECT", "a_b", "PROJECT is 'a_b': it must be 1 to 20"),
        ("TRAINING_SPOT", "yes", "TRAINING_SPOT is 'yes': it must be true or false"),
        ("TRAINING_HYPERPARAMETERS", "[1]", "TRAINING_HYPERPARAMETERS is .*a JSON object"),
        ("TRAINING_VOLUME_GB", "big", "TRAINING_VOLUME_GB is 'big': it must be a whole number"),
        ("TRAINING_VOLUME_GB", "0", "1 or more"),
        ("TRAINING_INPUT_MODE", "Pipe", "auto or File or FastFile"),
        ("SUBNET_IDS", "subnet-1", "SECURITY_GROUP_IDS go together"),
    ],
)
def test_a_wrong_variable_is_named_with_the_way_out(variable, value, message):
    with pytest.raises(SettingsError, match=message):
        read(StartTrainingSettings, {**REQUIRED, variable: value})


def test_waiting_for_spot_counts_the_training_too():
    with pytest.raises(SettingsError, match="TRAINING_MAX_WAIT_SECONDS is 172800"):
        read(StartTrainingSettings, {**REQUIRED, "TRAINING_SPOT": "true", "TRAINING_MAX_SECONDS": "200000"})
