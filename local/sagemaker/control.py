"""The `sagemaker` API: an operation by its name and a request → its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from local.sagemaker import request
from local.sagemaker.catalog import Catalog
from local.sagemaker.endpoints import Endpoints
from local.sagemaker.refusal import Refusal, invalid
from local.sagemaker.shelf import Resource, Shelf
from local.sagemaker.training import Training

Body = dict[str, Any]
Operation = Callable[[Body], Body]


class Control:
    """The control plane."""

    def __init__(self, training: Training, catalog: Catalog, endpoints: Endpoints) -> None:
        self._shelves: tuple[Shelf[Any], ...] = (training.jobs, catalog.models, catalog.configs, endpoints.endpoints)
        self._operations: Mapping[str, Operation] = {
            "CreateTrainingJob": training.create,
            "DescribeTrainingJob": training.describe,
            "ListTrainingJobs": training.list,
            "StopTrainingJob": training.stop,
            "CreateModel": catalog.create_model,
            "DescribeModel": catalog.describe_model,
            "ListModels": catalog.list_models,
            "DeleteModel": catalog.delete_model,
            "CreateEndpointConfig": catalog.create_config,
            "DescribeEndpointConfig": catalog.describe_config,
            "ListEndpointConfigs": catalog.list_configs,
            "DeleteEndpointConfig": catalog.delete_config,
            "CreateEndpoint": endpoints.create,
            "UpdateEndpoint": endpoints.update,
            "DescribeEndpoint": endpoints.describe,
            "ListEndpoints": endpoints.list,
            "DeleteEndpoint": endpoints.delete,
            "AddTags": self._add_tags,
            "DeleteTags": self._delete_tags,
            "ListTags": self._list_tags,
        }

    def answer(self, operation: str, data: bytes) -> Body:
        """Do what a request asks for.

        Raises:
            Refusal: what AWS would say instead.
        """
        try:
            body = json.loads(data or b"{}")
        except ValueError as error:
            raise Refusal("SerializationException", f"the request is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise Refusal("SerializationException", "the request is not a JSON object")
        request.check(operation, body)
        if operation not in self._operations:
            known = ", ".join(self._operations)
            raise Refusal("UnknownOperationException", f"{operation} is not there locally: there are {known}", 501)
        return self._operations[operation](body)

    def _add_tags(self, body: Body) -> Body:
        thing = self._by_arn(body["ResourceArn"])
        thing.tags |= {tag["Key"]: tag["Value"] for tag in body["Tags"]}
        return self._list_tags({"ResourceArn": thing.arn})

    def _delete_tags(self, body: Body) -> Body:
        thing = self._by_arn(body["ResourceArn"])
        for key in body["TagKeys"]:
            thing.tags.pop(key, None)
        return {}

    def _list_tags(self, body: Body) -> Body:
        tags = dict(self._by_arn(body["ResourceArn"]).tags)
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _by_arn(self, arn: str) -> Resource:
        for shelf in self._shelves:
            for thing in shelf.all():
                if thing.arn == arn:
                    found: Resource = thing
                    return found
        raise invalid(f"Could not find resource {arn}")
