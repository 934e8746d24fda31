"""A request of the control plane, checked against the description of the API that botocore carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.model import ServiceModel, Shape, StringShape, StructureShape
from botocore.session import get_session
from botocore.validate import ParamValidator

from local.sagemaker.refusal import Refusal, invalid


@cache
def _service() -> ServiceModel:
    return get_session().get_service_model("sagemaker")


def check(operation: str, body: Mapping[str, Any]) -> None:
    """Refuse what SageMaker would refuse: members that are missing or of another type, names that break their pattern.

    Raises:
        Refusal: `ValidationException` with all of it, or an operation that does not exist.
    """
    if operation not in _service().operation_names:
        raise Refusal("UnknownOperationException", f"SageMaker has no operation {operation}")
    shape = _service().operation_model(operation).input_shape
    if shape is None:
        return
    report = ParamValidator().validate(dict(body), shape)
    if report.has_errors():
        raise invalid(f"1 validation error detected: {report.generate_report()}")
    _check_patterns(shape, body)


def _check_patterns(shape: StructureShape, body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        member = shape.members[name]
        if isinstance(member, StringShape):
            _check_pattern(name, member, value)


def _check_pattern(name: str, shape: Shape, value: str) -> None:
    longest, pattern = shape.metadata.get("max"), shape.metadata.get("pattern")
    start = (
        f"1 validation error detected: Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy constraint: "
    )
    if longest is not None and len(value) > longest:
        raise invalid(f"{start}Member must have length less than or equal to {longest}")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        raise invalid(f"{start}Member must satisfy regular expression pattern: {pattern}")
