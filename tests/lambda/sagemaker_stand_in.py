"""SageMaker's control plane and its runtime, as far as the Lambdas use them: real HTTP servers on loopback."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from stand_ins import answer_with

ARN = "arn:aws:sagemaker:ap-northeast-1:123456789012:"


class Refused(Exception):
    """An error as AWS names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class SageMaker:
    """Jobs, models, configurations and endpoints by name. An endpoint changes when `settle` is called, or when it was
    looked at `looks` times."""

    jobs: dict = field(default_factory=dict)
    models: dict = field(default_factory=dict)
    configs: dict = field(default_factory=dict)
    endpoints: dict = field(default_factory=dict)
    packages: list = field(default_factory=list)
    tags: dict = field(default_factory=dict)
    calls: Counter = field(default_factory=Counter)
    looks: int = 0
    clock: int = 1_700_000_000
    url: str = ""

    def answer(self, operation: str, body: dict) -> dict:
        self.calls[operation] += 1
        self.clock += 1
        return getattr(self, operation)(body)

    def CreateTrainingJob(self, body):
        name = body["TrainingJobName"]
        if name in self.jobs:
            raise Refused("ResourceInUse", "Training job names must be unique within an AWS account and region")
        return {"TrainingJobArn": self.add_job(name, "InProgress", **body)}

    def add_job(self, name, status="Completed", metrics=(), hyperparameters=None, tags=None, **more) -> str:
        arn = f"{ARN}training-job/{name}"
        self.clock += 1
        self.jobs[name] = {
            "HyperParameters": hyperparameters or {},
            "ModelArtifacts": {"S3ModelArtifacts": f"s3://bucket/models/{name}/output/model.tar.gz"},
            **more,
            "TrainingJobName": name,
            "TrainingJobArn": arn,
            "TrainingJobStatus": status,
            "FinalMetricDataList": [{"MetricName": key, "Value": value} for key, value in dict(metrics).items()],
            "CreationTime": self.clock,
        }
        self.tags[arn] = tags if tags is not None else more.get("Tags", [{"Key": "project", "Value": "ogiri"}])
        return arn

    def DescribeTrainingJob(self, body):
        if body["TrainingJobName"] not in self.jobs:
            raise Refused("ValidationException", "Requested resource not found.")
        return {key: value for key, value in self.jobs[body["TrainingJobName"]].items() if key != "Tags"}

    def ListTags(self, body):
        return {"Tags": self.tags.get(body["ResourceArn"], [])}

    def AddTags(self, body):
        self.tags[body["ResourceArn"]] = [*self.tags.get(body["ResourceArn"], []), *body["Tags"]]
        return {"Tags": self.tags[body["ResourceArn"]]}

    def CreateModel(self, body):
        return {"ModelArn": self._create(self.models, "model", body["ModelName"], body)}

    def DeleteModel(self, body):
        del self.models[body["ModelName"]]
        return {}

    def ListModels(self, body):
        names = sorted(self.models, key=lambda name: -self.models[name]["CreationTime"])
        return {"Models": [self._entry("Model", "model", name, self.models) for name in names]}

    def CreateEndpointConfig(self, body):
        return {"EndpointConfigArn": self._create(self.configs, "endpoint-config", body["EndpointConfigName"], body)}

    def DescribeEndpointConfig(self, body):
        return self._found(self.configs, body["EndpointConfigName"], "endpoint configuration")

    def DeleteEndpointConfig(self, body):
        name = body["EndpointConfigName"]
        if any(name in (entry["EndpointConfigName"], entry.get("next")) for entry in self.endpoints.values()):
            raise Refused("ValidationException", f"Cannot delete {name}: in use")
        del self.configs[name]
        return {}

    def ListEndpointConfigs(self, body):
        names = sorted(self.configs, key=lambda name: -self.configs[name]["CreationTime"])
        entries = [self._entry("EndpointConfig", "endpoint-config", name, self.configs) for name in names]
        return {"EndpointConfigs": entries}

    def CreateEndpoint(self, body):
        self._found(self.configs, body["EndpointConfigName"], "endpoint configuration")
        arn = self._create(self.endpoints, "endpoint", body["EndpointName"], body)
        self.endpoints[body["EndpointName"]]["EndpointStatus"] = "Creating"
        return {"EndpointArn": arn}

    def UpdateEndpoint(self, body):
        endpoint = self._found(self.endpoints, body["EndpointName"], "endpoint")
        if endpoint["EndpointStatus"] != "InService":
            raise Refused("ValidationException", f"Cannot update in-progress endpoint {endpoint['EndpointArn']}")
        endpoint |= {"EndpointStatus": "Updating", "next": body["EndpointConfigName"]}
        return {"EndpointArn": endpoint["EndpointArn"]}

    def DescribeEndpoint(self, body):
        endpoint = self._found(self.endpoints, body["EndpointName"], "endpoint")
        if endpoint["EndpointStatus"] in ("Creating", "Updating") and self.looks:
            self.looks -= 1
            if not self.looks:
                self.settle()
        hidden = ("next", "Tags")
        return {key: value for key, value in endpoint.items() if key not in hidden} | {"LastModifiedTime": self.clock}

    def DeleteEndpoint(self, body):
        del self.endpoints[body["EndpointName"]]
        return {}

    def ListModelPackages(self, body):
        return {"ModelPackageSummaryList": self.packages}

    def CreateModelPackage(self, body):
        arn = f"{ARN}model-package/{body['ModelPackageGroupName']}/{len(self.packages) + 1}"
        self.packages.append(
            {**body, "ModelPackageArn": arn, "ModelPackageStatus": "Completed", "CreationTime": self.clock}
        )
        return {"ModelPackageArn": arn}

    def DescribeModelPackage(self, body):
        (package,) = (entry for entry in self.packages if entry["ModelPackageArn"] == body["ModelPackageName"])
        return package

    def settle(self):
        """What is being changed is in service."""
        for endpoint in self.endpoints.values():
            endpoint["EndpointStatus"] = "InService"
            endpoint["EndpointConfigName"] = endpoint.pop("next", endpoint["EndpointConfigName"])

    def _create(self, things, kind, name, body):
        if name in things:
            raise Refused("ValidationException", f'Cannot create already existing {kind} "{ARN}{kind}/{name}"')
        arn = f"{ARN}{kind}/{name}"
        names = {"model": "ModelArn", "endpoint-config": "EndpointConfigArn", "endpoint": "EndpointArn"}
        things[name] = {**body, names[kind]: arn, "CreationTime": self.clock}
        self.tags[arn] = body.get("Tags", [])
        return arn

    def _found(self, things, name, kind):
        if name not in things:
            raise Refused("ValidationException", f'Could not find {kind} "{name}".')
        return things[name]

    def _entry(self, prefix, kind, name, things):
        return {
            f"{prefix}Name": name,
            f"{prefix}Arn": f"{ARN}{kind}/{name}",
            "CreationTime": things[name]["CreationTime"],
        }


def sagemaker_handler(service: SageMaker) -> type:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, service.answer(self.headers["X-Amz-Target"].rpartition(".")[2], body)
            except Refused as error:
                status, answer = 400, {"__type": error.code, "message": str(error)}
            answer_with(self, status, json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    return Handler
