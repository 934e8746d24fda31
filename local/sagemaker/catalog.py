"""The operations on models and endpoint configurations: what is only written down until an endpoint serves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.sagemaker.refusal import invalid
from local.sagemaker.shelf import Resource, Shelf, arn_of, summary
from local.sagemaker.storage import address

Body = dict[str, Any]


class Catalog:
    """Models and endpoint configurations by name.

    Args:
        in_use: the names of configurations that endpoints serve or change to.
    """

    def __init__(self) -> None:
        self.models: Shelf[Resource] = Shelf("model")
        self.configs: Shelf[Resource] = Shelf("endpoint configuration")
        self.in_use: Callable[[], set[str]] = set

    def create_model(self, body: Body) -> Body:
        """CreateModel; one container with model data of its own."""
        container = _container(body)
        address(container["ModelDataUrl"])
        model = Resource(body["ModelName"], arn_of("model", body["ModelName"]), body)
        self.models.add(model)
        return {"ModelArn": model.arn}

    def describe_model(self, body: Body) -> Body:
        """DescribeModel."""
        return _described(self.models.get(body["ModelName"]), "ModelArn")

    def list_models(self, body: Body) -> Body:
        """ListModels."""
        found, more = self.models.page(body)
        return {"Models": [summary("Model", model) for model in found], **more}

    def delete_model(self, body: Body) -> Body:
        """DeleteModel; an endpoint that serves it goes on."""
        self.models.remove(body["ModelName"])
        return {}

    def create_config(self, body: Body) -> Body:
        """CreateEndpointConfig; one variant of a model that exists."""
        variants = body["ProductionVariants"]
        if len(variants) != 1 or "ModelName" not in variants[0]:
            raise invalid(f"{len(variants)} ProductionVariants: here an endpoint serves one model as one variant")
        self.models.get(variants[0]["ModelName"])
        name = body["EndpointConfigName"]
        config = Resource(name, arn_of("endpoint-config", name), body)
        self.configs.add(config)
        return {"EndpointConfigArn": config.arn}

    def describe_config(self, body: Body) -> Body:
        """DescribeEndpointConfig."""
        return _described(self.configs.get(body["EndpointConfigName"]), "EndpointConfigArn")

    def list_configs(self, body: Body) -> Body:
        """ListEndpointConfigs."""
        found, more = self.configs.page(body)
        return {"EndpointConfigs": [summary("EndpointConfig", config) for config in found], **more}

    def delete_config(self, body: Body) -> Body:
        """DeleteEndpointConfig; not one that an endpoint serves."""
        name = body["EndpointConfigName"]
        if name in self.in_use():
            raise invalid(f'Cannot delete endpoint configuration "{name}": an endpoint uses it.')
        self.configs.remove(name)
        return {}


def container_of(model: Resource) -> Body:
    """Image, address of model.tar.gz and environment of a model."""
    return _container(dict(model.request))


def _container(body: Body) -> Body:
    several = body.get("Containers", [])
    container = body.get("PrimaryContainer") or (several[0] if len(several) == 1 else None)
    if container is None:
        raise invalid("a model has one container here: give PrimaryContainer")
    if "ModelDataUrl" not in container:
        raise invalid("PrimaryContainer has no ModelDataUrl: it must be the address of a model.tar.gz")
    return dict(container)


def _described(thing: Resource, arn: str) -> Body:
    request = {name: value for name, value in thing.request.items() if name != "Tags"}
    return {**request, arn: thing.arn, "CreationTime": thing.created}
