"""What SageMaker lays out for a training job below /opt/ml.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogiri.task import UserError

BASE_FOLDER = "/opt/ml"
DEFAULT_HOST = "algo-1"
DEFAULT_JOB_NAME = "local"
RANK_FAILURES = "OGIRI_RANK_FAILURES"
"""The variable that names the folder in which each process of several leaves why it failed."""

_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Environment:
    """The folders and facts of one training job.

    Attributes:
        base: /opt/ml, or $SAGEMAKER_BASE_DIR.
        channels: channel name → its folder; only those that exist.
        hosts: the names of all hosts, sorted, so that the first leads on every one of them.
        current_host: the name of this one.
        job_name: $TRAINING_JOB_NAME.
        network_interface: by which the hosts reach each other; empty where the platform does not say.
    """

    base: Path
    channels: Mapping[str, Path]
    hosts: tuple[str, ...] = (DEFAULT_HOST,)
    current_host: str = DEFAULT_HOST
    job_name: str = DEFAULT_JOB_NAME
    network_interface: str = ""

    @property
    def config(self) -> Path:
        """Where the platform's JSON files lie."""
        return self.base / "input" / "config"

    @property
    def hyperparameters(self) -> Path:
        """The JSON file of hyperparameters."""
        return self.config / "hyperparameters.json"

    @property
    def data(self) -> Path:
        """The folder that holds one folder a channel."""
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        """What becomes model.tar.gz."""
        return self.base / "model"

    @property
    def output(self) -> Path:
        """The folder of the failure file and of `output_data`."""
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        """What becomes output.tar.gz: reports."""
        return self.output / "data"

    @property
    def checkpoints(self) -> Path:
        """What survives a restart."""
        return self.base / "checkpoints"

    @property
    def rank(self) -> int:
        """0 on the host that leads, 1 and up on the others."""
        return self.hosts.index(self.current_host)


def base_folder() -> Path:
    """/opt/ml, or $SAGEMAKER_BASE_DIR."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR") or BASE_FOLDER)


def failure_file() -> Path:
    """The file whose start becomes the job's FailureReason, or one of several processes; known before all else."""
    folder = os.environ.get(RANK_FAILURES)
    return Path(folder) / os.environ["RANK"] if folder else base_folder() / "output" / "failure"


def read() -> Environment:
    """Read what the platform laid out, and make the folders to write to.

    Raises:
        UserError: a file of input/config is malformed, a channel comes in Pipe mode, or a folder cannot be written to.
    """
    base = base_folder()
    hosts, current_host, network_interface = _hosts(base / "input" / "config" / "resourceconfig.json")
    environment = Environment(
        base=base,
        channels=_channels(base / "input"),
        hosts=hosts,
        current_host=current_host,
        job_name=os.environ.get("TRAINING_JOB_NAME") or DEFAULT_JOB_NAME,
        network_interface=network_interface,
    )
    for folder in (environment.model, environment.output_data, environment.checkpoints):
        _make(folder)
    return environment


def empty(folder: Path) -> None:
    """Remove what a run that was killed left in a folder, so that only what this one writes lies there."""
    left = sorted(folder.iterdir())
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if left:
        _log.info("removed from %s what an earlier run left: %s", folder, ", ".join(path.name for path in left))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of input/config, `{}` where there is no such file.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f'{path} must hold a JSON object, {{"name": value, …}}')
    return value


def _make(folder: Path) -> None:
    """Training that ends with a folder that nothing can be written to would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise UserError(f"{folder} cannot be made ({error.strerror}): mount it so that it can be written to") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{folder} cannot be written to: mount it so that it can, and not read-only")


def _hosts(path: Path) -> tuple[tuple[str, ...], str, str]:
    config = read_object(path)
    hosts = config.get("hosts") or [DEFAULT_HOST]
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise UserError(f"{path} has hosts {hosts!r}: it must be a list of names")
    current_host = config.get("current_host", hosts[0])
    if not isinstance(current_host, str) or current_host not in hosts:
        raise UserError(f"{path} has current_host {current_host!r}, which is none of its hosts {', '.join(hosts)}")
    interface = config.get("network_interface_name") or ""
    if not isinstance(interface, str):
        raise UserError(f"{path} has network_interface_name {interface!r}: it must be a name")
    return tuple(sorted(hosts)), current_host, interface


def _channels(folder: Path) -> dict[str, Path]:
    for name, config in read_object(folder / "config" / "inputdataconfig.json").items():
        if isinstance(config, dict) and config.get("TrainingInputMode") == "Pipe":
            raise UserError(f"channel {name} comes in Pipe mode: set its TrainingInputMode to FastFile or File")
    data = folder / "data"
    return {path.name: path for path in sorted(data.iterdir()) if path.is_dir()} if data.is_dir() else {}
