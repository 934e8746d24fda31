import json

import pytest

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri_aws.deployment import EventError
from ogiri_aws.endpoints import EndpointBusyError
from ogiri_aws.finished import SPLIT
from ogiri_aws.settings import EndTrainingSettings
from ogiri_aws.variables import SettingsError, read
from tests.handlers import Context, load

REQUIRED = {
    "PROJECT": "ogiri",
    "SERVING_IMAGE": "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/ogiri:1",
    "SERVING_ROLE_ARN": "arn:aws:iam::123456789012:role/serving-role",
    "TOPIC_ARN": "arn:aws:sns:ap-northeast-1:123456789012:ogiri",
    "ENDPOINT_WAIT_SECONDS": "0.05",
}
ENDPOINT = "ogiri-serverless"


def event(name: str, status: str = "Completed") -> dict:
    return {
        "detail-type": "SageMaker Training Job State Change",
        "source": "aws.sagemaker",
        "detail": {"TrainingJobName": name, "TrainingJobStatus": status},
    }


def approval(package: dict, status: str = "Approved", group: str = "ogiri-models") -> dict:
    detail = {"ModelPackageArn": package["ModelPackageArn"], "ModelPackageGroupName": group}
    return {
        "detail-type": "SageMaker Model Package State Change",
        "detail": {**detail, "ModelApprovalStatus": status},
    }


@pytest.fixture
def end(sagemaker, monkeypatch):
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    handler = load("end_training").lambda_handler
    return lambda event, seconds=600.0: handler(event, Context(seconds=seconds))


@pytest.fixture
def deployed(end, sagemaker):
    """Deploys a job and waits until its endpoint is in service; returns what the function answered."""

    def deployed(name, **job):
        sagemaker.add_job(name, **job)
        answer = end(event(name))
        sagemaker.settle()
        return answer

    return deployed


@pytest.fixture
def told(shared_aws, monkeypatch, end):
    """Reads what was published."""
    sns, sqs = shared_aws.client("sns"), shared_aws.client("sqs")
    topic = sns.create_topic(Name="ogiri")["TopicArn"]
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    monkeypatch.setenv("TOPIC_ARN", topic)
    yield lambda: [
        json.loads(message["Body"])
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0).get(
            "Messages", []
        )
    ]
    sqs.delete_queue(QueueUrl=queue)
    sns.delete_topic(TopicArn=topic)
    sqs.close()
    sns.close()


def serving(sagemaker, endpoint=ENDPOINT) -> str:
    config = sagemaker.configs[sagemaker.endpoints[endpoint]["EndpointConfigName"]]
    return config["ProductionVariants"][0]["ModelName"]


def test_the_first_model_gets_an_endpoint(end, sagemaker, monkeypatch):
    monkeypatch.setenv("SERVING_ENVIRONMENT", '{"OGIRI_THREADS": 2}')
    sagemaker.add_job("ogiri-a-1")
    assert end(event("ogiri-a-1"))["action"] == "created"
    model = sagemaker.models["ogiri-a-1"]
    assert model["PrimaryContainer"] == {
        "Image": REQUIRED["SERVING_IMAGE"],
        "ModelDataUrl": "s3://bucket/models/ogiri-a-1/output/model.tar.gz",
        "Environment": {"OGIRI_THREADS": "2"},
    }
    assert model["ExecutionRoleArn"] == REQUIRED["SERVING_ROLE_ARN"]
    (config,) = sagemaker.configs.values()
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 5}
    assert serving(sagemaker) == "ogiri-a-1"


def test_a_later_model_updates_the_endpoint_without_a_gap(deployed, end, sagemaker):
    deployed("ogiri-a-1")
    assert deployed("ogiri-a-2")["action"] == "updated"
    assert serving(sagemaker) == "ogiri-a-2"
    assert sagemaker.calls["CreateEndpoint"] == 1
    assert "DeleteEndpoint" not in sagemaker.calls


def test_the_same_event_twice_changes_nothing(deployed, end, sagemaker):
    deployed("ogiri-a-1")
    before = (dict(sagemaker.models), dict(sagemaker.configs))
    assert end(event("ogiri-a-1"))["action"] == "unchanged"
    assert (sagemaker.models, sagemaker.configs) == before
    assert "UpdateEndpoint" not in sagemaker.calls


def test_the_same_event_while_the_endpoint_is_created_changes_nothing(end, sagemaker):
    sagemaker.add_job("ogiri-a-1")
    end(event("ogiri-a-1"))
    assert end(event("ogiri-a-1"))["action"] == "unchanged"


def test_an_event_before_the_end_is_passed_over(end, sagemaker):
    sagemaker.add_job("ogiri-a-1", "InProgress")
    assert end(event("ogiri-a-1"))["action"] == "ignored"
    assert not sagemaker.models


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("another-1", None),
        ("ogirinal-1", None),
        ("ogiri-a-1", [{"Key": "project", "Value": "another"}]),
        ("ogiri-a-1", []),
    ],
)
def test_another_projects_job_is_passed_over(end, sagemaker, told, name, tags):
    for status in ("Completed", "Failed"):
        sagemaker.add_job(name, status, tags=tags)
        assert end(event(name))["action"] == "ignored"
    assert not sagemaker.models
    assert not told()


def test_a_job_that_is_gone_is_passed_over(end, sagemaker):
    assert end(event("ogiri-a-1"))["action"] == "ignored"


def test_an_endpoint_that_is_updating_is_waited_for(deployed, end, sagemaker):
    deployed("ogiri-a-1")
    sagemaker.add_job("ogiri-a-2")
    sagemaker.add_job("ogiri-a-3")
    end(event("ogiri-a-2"))
    sagemaker.looks = 6
    assert end(event("ogiri-a-3"))["action"] == "updated"
    sagemaker.settle()
    assert serving(sagemaker) == "ogiri-a-3"


def test_an_endpoint_that_is_updating_for_too_long_lets_the_event_come_again(deployed, end, sagemaker):
    deployed("ogiri-a-1")
    sagemaker.add_job("ogiri-a-2")
    sagemaker.add_job("ogiri-a-3")
    end(event("ogiri-a-2"))
    with pytest.raises(EndpointBusyError, match="ogiri-serverless is still Updating"):
        end(event("ogiri-a-3"), seconds=21)
    sagemaker.settle()
    assert end(event("ogiri-a-3"))["action"] == "updated"


def test_an_endpoint_that_failed_is_made_again(end, sagemaker):
    sagemaker.add_job("ogiri-a-1")
    end(event("ogiri-a-1"))
    sagemaker.endpoints[ENDPOINT]["EndpointStatus"] = "Failed"
    assert end(event("ogiri-a-1"))["action"] == "created"


def test_a_late_event_of_an_older_job_does_not_replace_a_newer_model(end, sagemaker):
    sagemaker.add_job("ogiri-old")
    sagemaker.add_job("ogiri-new")
    end(event("ogiri-new"))
    sagemaker.settle()
    assert end(event("ogiri-old"))["action"] == "ignored"
    assert serving(sagemaker) == "ogiri-new"


def compared(new: float, baseline: float, beside: str = "ogiri-a-1", **hyperparameters: str) -> dict:
    """A job that was given the model of another, and found both figures."""
    uri = f"s3://bucket/models/{beside}/output/model.tar.gz"
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {
        "metrics": {"exported_nats_per_character": new, "baseline_nats_per_character": baseline},
        "hyperparameters": {"seed": "1", **hyperparameters},
        "InputDataConfig": [{"ChannelName": "model", "DataSource": source}],
    }


@pytest.mark.parametrize(
    ("job", "action"),
    [
        (compared(3.30, 3.2), "refused"),
        (compared(3.24, 3.2), "updated"),
        (compared(2.00, 3.2), "updated"),
        (compared(9.00, 3.2, seed="2"), "updated"),
        (compared(9.00, 3.2, validation_fraction="0.3"), "updated"),
        (compared(9.00, 3.2, beside="ogiri-a-0"), "updated"),
        (compared(3.30, 3.2, task="caption", validation_fraction="0.10", seed="1.0"), "refused"),
    ],
    ids=["worse", "tolerable", "better", "other-seed", "other-fraction", "beside-another-model", "defaults-named"],
)
def test_a_model_that_is_worse_on_the_same_lines_does_not_serve(deployed, sagemaker, told, job, action):
    deployed("ogiri-a-1", metrics={"exported_nats_per_character": 9.9}, hyperparameters={"seed": "1"})
    answer = deployed("ogiri-a-2", **job)
    assert answer["action"] == action
    refused = action == "refused"
    assert serving(sagemaker) == ("ogiri-a-1" if refused else "ogiri-a-2")
    assert [message["Subject"] for message in told()] == (["ogiri: ogiri-a-2 refused"] if refused else [])
    if refused:
        assert "3.3000 nats a character, the serving ogiri-a-1 3.2000" in answer["reason"]


def test_what_a_job_takes_where_it_names_nothing_is_known():
    own = CaptionHyperparameters()
    assert {name: float(default) if name != "task" else default for name, default in SPLIT.items()} == {
        name: getattr(own, name) for name in SPLIT
    }


@pytest.mark.parametrize("missing", ["exported_nats_per_character", "baseline_nats_per_character"])
def test_without_a_figure_nothing_is_compared(deployed, missing):
    deployed("ogiri-a-1", hyperparameters={"seed": "1"})
    job = compared(9.0, 3.2)
    del job["metrics"][missing]
    answer = deployed("ogiri-a-2", **job)
    assert answer["action"] == "updated"
    assert "not comparable with ogiri-a-1: the job found no" in answer["reason"]


def test_the_folder_of_the_serving_model_is_its_model_too(deployed, told):
    deployed("ogiri-a-1", hyperparameters={"seed": "1"})
    job = compared(9.0, 3.2)
    source = job["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = source["S3Uri"].removesuffix("model.tar.gz")
    assert deployed("ogiri-a-2", **job)["action"] == "refused"


def test_a_negative_tolerance_deploys_whatever_was_trained(deployed, monkeypatch):
    monkeypatch.setenv("GATE_TOLERANCE", "-1")
    deployed("ogiri-a-1", hyperparameters={"seed": "1"})
    assert deployed("ogiri-a-2", **compared(9.2, 3.2))["action"] == "updated"


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_job_that_did_not_complete_is_told_once_with_its_reason(end, sagemaker, told, status):
    sagemaker.add_job("ogiri-a-1", status, FailureReason="AlgorithmError: no records in the table")
    assert end(event("ogiri-a-1", status))["action"] == "told"
    end(event("ogiri-a-1", status))
    (message,) = told()
    assert message["Subject"] == f"ogiri: ogiri-a-1 {status.lower()}"
    assert "no records in the table" in message["Message"]
    assert not sagemaker.models


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("realtime", {"InstanceType": "ml.c6i.large", "InitialInstanceCount": 1}),
        ("async", {"InstanceType": "ml.c6i.large", "InitialInstanceCount": 1}),
    ],
)
def test_the_endpoint_is_of_the_kind_that_its_name_says(end, sagemaker, monkeypatch, kind, more):
    monkeypatch.setenv("ENDPOINT_KIND", kind)
    monkeypatch.setenv("ASYNC_OUTPUT_S3_URI", "s3://bucket/answers")
    sagemaker.add_job("ogiri-a-1")
    end(event("ogiri-a-1"))
    assert list(sagemaker.endpoints) == [f"ogiri-{kind}"]
    (config,) = sagemaker.configs.values()
    (variant,) = config["ProductionVariants"]
    assert {name: variant[name] for name in more} == more
    assert "ServerlessConfig" not in variant
    assert "InferenceAmiVersion" not in variant
    output = {"S3OutputPath": "s3://bucket/answers", "S3FailurePath": "s3://bucket/answers/failed"}
    assert config.get("AsyncInferenceConfig") == ({"OutputConfig": output} if kind == "async" else None)


@pytest.mark.parametrize("kind", ["realtime", "async", "serverless"])
def test_instances_have_the_host_image_that_was_named(end, sagemaker, monkeypatch, kind):
    monkeypatch.setenv("ENDPOINT_KIND", kind)
    monkeypatch.setenv("ASYNC_OUTPUT_S3_URI", "s3://bucket/answers/")
    monkeypatch.setenv("INFERENCE_AMI_VERSION", "al2-ami-sagemaker-inference-gpu-3-1")
    sagemaker.add_job("ogiri-a-1")
    end(event("ogiri-a-1"))
    (config,) = sagemaker.configs.values()
    expected = None if kind == "serverless" else "al2-ami-sagemaker-inference-gpu-3-1"
    assert config["ProductionVariants"][0].get("InferenceAmiVersion") == expected


def test_other_settings_give_another_configuration_of_the_same_model(deployed, end, sagemaker, monkeypatch):
    deployed("ogiri-a-1")
    monkeypatch.setenv("SERVERLESS_MEMORY_MB", "4096")
    assert end(event("ogiri-a-1"))["action"] == "updated"
    assert len(sagemaker.configs) == 2


def test_the_newest_models_stay_and_older_ones_go(deployed, sagemaker, monkeypatch):
    monkeypatch.setenv("KEEP_MODELS", "2")
    for kind, name in (("CreateModel", "ModelName"), ("CreateEndpointConfig", "EndpointConfigName")):
        getattr(sagemaker, kind)({name: "ogiri-foreign", "Tags": [{"Key": "project", "Value": "x"}]})
    for number in range(1, 6):
        deployed(f"ogiri-a-{number}")
    assert set(sagemaker.models) == {"ogiri-foreign", "ogiri-a-4", "ogiri-a-5"}
    assert {name.rpartition("-")[0] for name in sagemaker.configs} == {"ogiri", "ogiri-a-4", "ogiri-a-5"}


def test_what_an_endpoint_still_serves_is_not_deleted(deployed, end, sagemaker, monkeypatch):
    monkeypatch.setenv("KEEP_MODELS", "1")
    deployed("ogiri-a-1")
    sagemaker.add_job("ogiri-a-2")
    end(event("ogiri-a-2"))  # the endpoint is still updating
    assert set(sagemaker.models) == {"ogiri-a-1", "ogiri-a-2"}
    assert len(sagemaker.configs) == 2


def test_an_older_model_that_somebody_approves_serves_and_stays(deployed, end, sagemaker, monkeypatch):
    monkeypatch.setenv("MODEL_PACKAGE_GROUP", "ogiri-models")
    monkeypatch.setenv("KEEP_MODELS", "1")
    for number in (1, 2, 3):
        deployed(f"ogiri-a-{number}")
    assert set(sagemaker.models) == {"ogiri-a-3", "ogiri-a-2"}  # the one before was still in use
    assert end(approval(sagemaker.packages[1]))["action"] == "updated"
    sagemaker.settle()
    assert serving(sagemaker) == "ogiri-a-2"
    assert set(sagemaker.models) == {"ogiri-a-3", "ogiri-a-2"}


def test_a_model_that_must_be_approved_serves_when_it_is(deployed, end, sagemaker, told, monkeypatch):
    monkeypatch.setenv("MODEL_PACKAGE_GROUP", "ogiri-models")
    monkeypatch.setenv("MODEL_APPROVAL", "PendingManualApproval")
    figures = {"exported_nats_per_character": 3.2}
    assert deployed("ogiri-a-1", metrics=figures)["action"] == "registered"
    end(event("ogiri-a-1"))
    (package,) = sagemaker.packages
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["CustomerMetadataProperties"] == {"training_job": "ogiri-a-1", "exported_nats_per_character": "3.2"}
    assert not sagemaker.endpoints
    (message,) = told()
    assert message["Subject"] == "ogiri: ogiri-a-1 awaits approval"
    assert "once somebody has approved it in the model package group ogiri-models" in message["Message"]
    assert end(approval(package, "Rejected"))["action"] == "ignored"
    assert end(approval(package, group="others"))["action"] == "ignored"
    assert not sagemaker.endpoints
    assert end(approval(package))["action"] == "created"
    assert serving(sagemaker) == "ogiri-a-1"


def test_a_model_that_the_gate_refuses_is_registered_as_rejected(deployed, sagemaker, told, monkeypatch):
    monkeypatch.setenv("MODEL_PACKAGE_GROUP", "ogiri-models")
    deployed("ogiri-a-1", hyperparameters={"seed": "1"})
    deployed("ogiri-a-2", **compared(4.2, 3.2))
    assert [package["ModelApprovalStatus"] for package in sagemaker.packages] == ["Approved", "Rejected"]


def test_an_approval_without_a_registry_is_no_setting():
    with pytest.raises(SettingsError, match="MODEL_PACKAGE_GROUP is not set"):
        read(EndTrainingSettings, {**REQUIRED, "MODEL_APPROVAL": "PendingManualApproval"})


@pytest.mark.parametrize("wrong", [{}, {"detail-type": "Object Created", "detail": {}}, {"detail": None}])
def test_an_event_of_something_else_is_told(end, wrong):
    with pytest.raises(EventError, match="must be 'SageMaker Training Job State Change'"):
        end(wrong)
