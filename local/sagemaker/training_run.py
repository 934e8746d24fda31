"""The run of one training job: its folder from S3, the program, its end, what goes back to S3."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.sagemaker import storage
from local.sagemaker.launch import Launcher
from local.sagemaker.refusal import Refusal, invalid
from local.sagemaker.storage import Mirror, StorageError, address
from local.sagemaker.training_job import TrainingJob
from ogiri import artifact

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GRACE_SECONDS = 120.0  # between SIGTERM and SIGKILL
SYNC_SECONDS = 20.0  # between two uploads of checkpoints, which take time of the cores that train
POLL_SECONDS = 0.05
DEFAULT_RUNTIME_SECONDS = 24 * 3600
HOST = "algo-1"
CHECKPOINTS = "/opt/ml/checkpoints"

_log = logging.getLogger(__name__)


class InputError(Exception):
    """Input that is not there; the message is the job's FailureReason."""


@dataclass(frozen=True)
class TrainingRun:
    """A job that runs in a thread of its own.

    Attributes:
        job: told of every step.
        folder: of the job; `opt-ml` in it is its /opt/ml, `train.log` what it prints.
        s3: client.
        launcher: starts the program.
        grace_seconds: between SIGTERM and SIGKILL.
    """

    job: TrainingJob
    folder: Path
    s3: S3Client
    launcher: Launcher
    grace_seconds: float = GRACE_SECONDS

    @property
    def base(self) -> Path:
        """/opt/ml."""
        return self.folder / "opt-ml"

    def run(self) -> None:
        """Take the job to its end. Whatever goes wrong is its FailureReason."""
        try:
            self.job.enter("Downloading")
            self._lay_out()
            status, secondary = "Stopped", "Stopped"
            if not self.job.stopping.is_set():
                with self._checkpoints():
                    status, secondary = self._train()
            self.job.enter("Uploading")
            self._upload(status)
        except (InputError, StorageError, Refusal) as error:
            self.job.reason = f"ClientError: {error}"
            status, secondary = "Failed", "Failed"
        except (ClientError, BotoCoreError, OSError) as error:
            _log.exception("training job %s", self.job.name)
            self.job.reason = f"InternalServerError: {error}"
            status, secondary = "Failed", "Failed"
        self.job.enter(secondary, status)

    # --- before -------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        storage.empty(self.folder)
        request = self.job.request
        config = self.base / "input" / "config"
        config.mkdir(parents=True)
        channels = request.get("InputDataConfig", ())
        files: dict[str, Any] = {
            "hyperparameters.json": dict(request.get("HyperParameters", {})),
            "inputdataconfig.json": {channel["ChannelName"]: _input(channel) for channel in channels},
            "resourceconfig.json": _resources(request["ResourceConfig"]),
        }
        for name, value in files.items():
            (config / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
        for folder in ("input/data", "model", "output/data", "checkpoints"):
            (self.base / folder).mkdir(parents=True)
        for channel in channels:
            self._fill(channel)

    def _fill(self, channel: dict[str, Any]) -> None:
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        try:
            files = storage.download(self.s3, address(uri), self.base / "input" / "data" / channel["ChannelName"])
        except ClientError as error:
            raise InputError(f"Data download failed: {uri}: {error}") from error
        if not files:
            raise InputError(f"No S3 objects found under S3 URL {uri!r} given in input data source.")

    # --- while it runs ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _checkpoints(self) -> Iterator[None]:
        """Checkpoints from S3 at the start, to S3 while the block runs and at its end."""
        config = self.job.request.get("CheckpointConfig")
        if config is None:
            yield
            return
        folder = self.base / PurePosixPath(config.get("LocalPath", CHECKPOINTS)).relative_to("/opt/ml")
        mirror = Mirror(self.s3, folder, address(config["S3Uri"]))
        mirror.restore()
        over = threading.Event()

        def follow() -> None:
            while not over.wait(SYNC_SECONDS):
                try:
                    mirror.sync()
                except (ClientError, BotoCoreError):
                    _log.exception("checkpoints of %s: trying again", self.job.name)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()
            mirror.sync()

    def _train(self) -> tuple[str, str]:
        """Run the program; returns the job's primary and secondary status."""
        request = self.job.request
        own = {"TRAINING_JOB_NAME": self.job.name, "TRAINING_JOB_ARN": self.job.arn}
        environment = {**request.get("Environment", {}), **own}
        image = request["AlgorithmSpecification"].get("TrainingImage", "")
        process = self.launcher.start("train", image, self.base, environment, subprocess.PIPE)
        self.job.enter("Training")
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        stopped = self._wait(process)
        _kill(process)  # what it may have left behind
        reader.join()
        if stopped is not None:
            return "Stopped", stopped
        if process.returncode == 0:
            return "Completed", "Completed"
        self.job.reason = self._failure(process.returncode)
        return "Failed", "Failed"

    def _wait(self, process: subprocess.Popen[bytes]) -> str | None:
        """Wait for the end, or bring it about; returns the secondary status of a job that was ended."""
        condition = self.job.request.get("StoppingCondition", {})
        deadline = time.monotonic() + condition.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS)
        while process.poll() is None:
            over = time.monotonic() >= deadline
            if over or self.job.stopping.is_set():
                process.terminate()
                try:
                    process.wait(self.grace_seconds)
                except subprocess.TimeoutExpired:
                    _kill(process)
                    process.wait()
                return "Stopped" if self.job.stopping.is_set() else "MaxRuntimeExceeded"
            time.sleep(POLL_SECONDS)
        return None

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """The log to its file, the metrics out of it."""
        specification = self.job.request["AlgorithmSpecification"]
        definitions = [
            (metric["Name"], re.compile(metric["Regex"])) for metric in specification.get("MetricDefinitions", ())
        ]
        assert process.stdout is not None  # noqa: S101  it is a pipe
        with process.stdout as lines, (self.folder / "train.log").open("wb", buffering=0) as log:
            for line in lines:
                log.write(line)
                self.job.read(definitions, line.decode("utf-8", errors="replace"))

    def _failure(self, code: int) -> str:
        file = self.base / "output" / "failure"
        told = file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""
        return f"AlgorithmError: {told}{', ' if told else ''}exit code: {code}"

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _upload(self, status: str) -> None:
        """model.tar.gz unless the job failed, output.tar.gz in any case; neither where there is no file for it."""
        target = address(self.job.request["OutputDataConfig"]["S3OutputPath"]) / self.job.name / "output"
        folders = {"output.tar.gz": self.base / "output" / "data"}
        if status != "Failed":
            folders["model.tar.gz"] = self.base / "model"
        for name, folder in folders.items():
            if not any(folder.rglob("*")):
                continue
            artifact.pack(folder, self.folder / name)
            storage.upload(self.s3, self.folder / name, target / name)
            if name == "model.tar.gz":
                self.job.artifact = str(target / name)


def check(request: dict[str, Any]) -> None:
    """Refuse at once what could not run.

    Raises:
        Refusal: a place that is none of S3, several hosts, a checkpoint folder outside /opt/ml, a bad expression.
    """
    address(request["OutputDataConfig"]["S3OutputPath"])
    for channel in request.get("InputDataConfig", ()):
        source = channel["DataSource"].get("S3DataSource", {})
        if source.get("S3DataType") != "S3Prefix":
            raise invalid(f"channel {channel['ChannelName']}: only S3DataSource with S3DataType S3Prefix runs here")
        address(source["S3Uri"])
    if "ResourceConfig" not in request or "AlgorithmSpecification" not in request:
        raise invalid("ResourceConfig and AlgorithmSpecification are needed here: serverless jobs do not run locally")
    if request["ResourceConfig"].get("InstanceCount", 1) != 1:
        raise invalid("InstanceCount must be 1: a job runs on this machine alone")
    checkpoints = request.get("CheckpointConfig")
    if checkpoints is not None:
        address(checkpoints["S3Uri"])
        path = PurePosixPath(checkpoints.get("LocalPath", CHECKPOINTS))
        if not path.is_relative_to("/opt/ml") or ".." in path.parts:
            raise invalid(f"CheckpointConfig.LocalPath is {path}: it must lie below /opt/ml")
    for metric in request["AlgorithmSpecification"].get("MetricDefinitions", ()):
        try:
            groups = re.compile(metric["Regex"]).groups
        except re.error as error:
            raise invalid(f"metric {metric['Name']}: {metric['Regex']!r} is no regular expression: {error}") from error
        if not groups:
            raise invalid(f"metric {metric['Name']}: {metric['Regex']!r} has no group for the value")


def _input(channel: dict[str, Any]) -> dict[str, str]:
    """As the platform writes it: FastFile shows as File."""
    source = channel["DataSource"]["S3DataSource"]
    given = {
        "TrainingInputMode": "File",
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return given | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})


def _resources(resources: dict[str, Any]) -> dict[str, Any]:
    kind = resources.get("InstanceType", "local")
    return {
        "current_host": HOST,
        "current_instance_type": kind,
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": [HOST]}],
        "network_interface_name": "lo",
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
