"""Stacks of SAM's templates; moto's CloudFormation knows no transform, and fails for types that it has not."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from moto.cloudformation.models import ChangeSet, Stack
from moto.s3.models import s3_backends

from local.emulation.serverless import expanded, known
from local.sagemaker.shelf import ACCOUNT


def install(types: Set[str]) -> None:
    """Let moto's stacks and change sets take such templates.

    Args:
        types: of resources that moto can create.
    """

    def plain(template: dict[str, Any]) -> dict[str, Any]:
        return known(expanded(template, _object), types)

    parse_stack, parse_change = Stack.parse_template, ChangeSet._parse_template

    def parse_change_set(self: Any) -> None:
        parse_change(self)
        self.template_dict = plain(self.template_dict)

    Stack.parse_template = staticmethod(lambda template: plain(parse_stack(template)))  # type: ignore[method-assign]
    ChangeSet._parse_template = parse_change_set  # type: ignore[method-assign]


def _object(bucket: str, key: str) -> str:
    found = s3_backends[ACCOUNT]["aws"].get_object(bucket, key)
    if found is None:
        raise KeyError(f"s3://{bucket}/{key} is not there")
    return str(found.value.decode("utf-8"))
