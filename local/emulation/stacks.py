"""Stacks of SAM's templates; moto's CloudFormation knows no transform, and fails for types that it has not."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from moto.cloudformation import parsing
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
        self.parameters = {name: _given(value) for name, value in self.parameters.items()}

    update = parsing.parse_and_update_resource

    def update_resource(logical_id: str, resource: Any, resources: Any, account_id: str, region_name: str) -> Any:
        condition = resource.get("Condition")
        if condition and not resources.lazy_condition_map[condition]:  # it is not there, which moto does not look at
            return None
        changed = update(logical_id, resource, resources, account_id=account_id, region_name=region_name)
        return resources[logical_id] if changed is None else changed  # what moto cannot update stays as it was

    Stack.parse_template = staticmethod(lambda template: plain(parse_stack(template)))  # type: ignore[method-assign]
    parsing.parse_and_update_resource = update_resource  # type: ignore[assignment]
    ChangeSet._parse_template = parse_change_set  # type: ignore[method-assign]


def _given(value: Any) -> str:
    """A parameter as it was given: moto reads that of an earlier stack again, as a number that it cuts, or a list."""
    return ",".join(value) if isinstance(value, list) else str(value)


def _object(bucket: str, key: str) -> str:
    found = s3_backends[ACCOUNT]["aws"].get_object(bucket, key)
    if found is None:
        raise KeyError(f"s3://{bucket}/{key} is not there")
    return str(found.value.decode("utf-8"))
