"""hyperparameters.json → the trainer's own dataclass, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ogiri import parameter, task
from ogiri.sagemaker.training import environment
from ogiri.task import UserError

DEFAULT_TASK = "caption"
PASSED_PREFIXES = ("sagemaker_", "_tuning")  # what SDKs and tuning jobs add


def read(path: Path) -> dict[str, Any]:
    """Name → value as SageMaker wrote it, `{}` where there is no such file.

    Raises:
        UserError: the file is no JSON object.
    """
    return environment.read_object(path)


def task_name(values: Mapping[str, Any]) -> str:
    """The hyperparameter `task`, which decides what the others may be.

    Raises:
        UserError: this image has no such task.
    """
    name = parameter.decode_string(values.get("task", DEFAULT_TASK))
    if not isinstance(name, str) or name not in task.TASKS:
        raise UserError(f"task is {name!r}: it must be one of {', '.join(sorted(task.TASKS))}")
    return name


def check(cls: type, values: Mapping[str, Any]) -> Any:
    """An instance of `cls`, a dataclass of `ogiri.parameter` fields.

    Raises:
        ParameterError: unknown name, wrong type or out of range; all of them at once.
    """
    kept = {name: value for name, value in values.items() if not name.startswith(PASSED_PREFIXES)}
    if "task" not in {field.name for field in dataclasses.fields(cls)}:
        kept.pop("task", None)
    return parameter.from_strings(cls, kept)
