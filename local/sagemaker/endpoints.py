"""The operations on endpoints: servers come, take over from each other, and go."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker import storage
from local.sagemaker.catalog import Catalog, container_of
from local.sagemaker.endpoint import Endpoint
from local.sagemaker.launch import Launcher
from local.sagemaker.served_model import ServedModel, ServingError
from local.sagemaker.shelf import Shelf, arn_of, summary
from local.sagemaker.storage import address
from ogiri import artifact

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START_SECONDS = 480.0  # until /ping must say 200, unless the variant says otherwise

_log = logging.getLogger(__name__)

Body = dict[str, Any]


class Endpoints:
    """Endpoints by name.

    Args:
        folder: gets one folder a server.
        s3: makes a client.
        launcher: starts the servers.
        catalog: of models and configurations.
    """

    def __init__(self, folder: Path, s3: Callable[[], S3Client], launcher: Launcher, catalog: Catalog) -> None:
        self._folder = folder
        self._s3 = s3
        self._launcher = launcher
        self._catalog = catalog
        self._serial = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self.endpoints: Shelf[Endpoint] = Shelf("endpoint")
        catalog.in_use = self._configs_in_use

    def create(self, body: Body) -> Body:
        """CreateEndpoint."""
        name, config = body["EndpointName"], body["EndpointConfigName"]
        container, settings = self._asked(config)
        endpoint = Endpoint(name, arn_of("endpoint", name), body, config=config)
        self.endpoints.add(endpoint)
        self._begin(endpoint, config, container, settings)
        return {"EndpointArn": endpoint.arn}

    def update(self, body: Body) -> Body:
        """UpdateEndpoint."""
        endpoint, config = self.endpoints.get(body["EndpointName"]), body["EndpointConfigName"]
        container, settings = self._asked(config)
        endpoint.begin_update(config)
        self._begin(endpoint, config, container, settings)
        return {"EndpointArn": endpoint.arn}

    def describe(self, body: Body) -> Body:
        """DescribeEndpoint."""
        return self.endpoints.get(body["EndpointName"]).describe()

    def list(self, body: Body) -> Body:
        """ListEndpoints."""
        found, more = self.endpoints.page(body)
        entries = [
            summary("Endpoint", endpoint)
            | {"LastModifiedTime": endpoint.modified, "EndpointStatus": endpoint.endpoint_status}
            for endpoint in found
        ]
        return {"Endpoints": entries, **more}

    def delete(self, body: Body) -> Body:
        """DeleteEndpoint; calls under way still get their answers."""
        endpoint = self.endpoints.remove(body["EndpointName"])
        endpoint.deleted.set()
        if endpoint.served is not None:
            self._thread(endpoint.served.close)
        return {}

    def close(self) -> None:
        """End all servers."""
        for endpoint in self.endpoints.all():
            self.delete({"EndpointName": endpoint.name})
        for thread in self._threads:
            thread.join()

    def _asked(self, config: str) -> tuple[Body, Body]:
        """The container and the configuration of that name, which may both be deleted while they are served."""
        settings = dict(self._catalog.configs.get(config).request)
        model = self._catalog.models.get(settings["ProductionVariants"][0]["ModelName"])
        return container_of(model), settings

    def _begin(self, endpoint: Endpoint, config: str, container: Body, settings: Body) -> None:
        self._thread(lambda: self._serve(endpoint, config, container, settings))

    def _serve(self, endpoint: Endpoint, config: str, container: Body, settings: Body) -> None:
        """Start the new server, let it take over when it answers, and end the one before."""
        folder = self._folder / f"{endpoint.name}-{next(self._serial)}"
        served: ServedModel | None = None
        try:
            served = self._started(folder, container, settings["ProductionVariants"][0])
            served.wait(_start_seconds(served), endpoint.deleted)
        except (ServingError, artifact.ArtifactError, ClientError, BotoCoreError, OSError) as error:
            _log.warning("endpoint %s: %s", endpoint.name, error)
            endpoint.give_up(str(error))
            ended = served
        else:
            ended = endpoint.switch(served, config, settings)
        if ended is not None:
            ended.close()
        if endpoint.deleted.is_set() and endpoint.served is not None:
            endpoint.served.close()  # it took over while the endpoint went

    def _started(self, folder: Path, container: Body, variant: Body) -> ServedModel:
        storage.empty(folder)
        archive = folder / "model.tar.gz"
        url = container["ModelDataUrl"]
        try:
            storage.fetch_file(self._s3(), address(url), archive)
        except ClientError as error:
            raise ServingError(f"Could not access model data at {url}: {error}") from error
        base = folder / "opt-ml"
        artifact.unpack(archive, base / "model")
        archive.unlink()
        return ServedModel.start(self._launcher, container, variant, base, folder / "serve.log")

    def _configs_in_use(self) -> set[str]:
        endpoints = self.endpoints.all()
        return {name for endpoint in endpoints for name in (endpoint.config, endpoint.next_config) if name}

    def _thread(self, action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action, name="endpoint")
        self._threads.append(thread)
        thread.start()


def _start_seconds(served: ServedModel) -> float:
    return float(served.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", START_SECONDS))
