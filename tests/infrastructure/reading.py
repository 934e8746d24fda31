"""The template as plain values: `!Ref X` → {"Ref": "X"}, `!Sub` and the others → {"Fn::Sub": …}."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
MACHINE = ROOT / "statemachine" / "ingest.asl.json"


class _Loader(yaml.SafeLoader):
    """Plain YAML and the short forms of CloudFormation."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        value: Any = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        value = loader.construct_scalar(node)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


@cache
def template() -> dict[str, Any]:
    return yaml.load(TEMPLATE.read_text(), _Loader)


@cache
def machine() -> dict[str, Any]:
    return json.loads(MACHINE.read_text())


def resources(kind: str) -> dict[str, dict[str, Any]]:
    return {name: value for name, value in template()["Resources"].items() if value["Type"] == kind}


def functions() -> dict[str, dict[str, Any]]:
    """Name of the handler's file → resource."""
    found = resources("AWS::Serverless::Function")
    return {value["Properties"]["Handler"].partition(".")[0]: value for value in found.values()}


def text(value: Any) -> str:
    """A string as it is, and what is put together from others as its pattern."""
    if isinstance(value, str):
        return value
    return next(iter(value.values())) if isinstance(value, dict) else str(value)


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    """All statements of a role, those with a condition of the template too."""
    found = []
    for policy in role["Properties"].get("Policies", []):
        for entry in policy["PolicyDocument"]["Statement"]:
            found.append(entry["Fn::If"][1] if "Fn::If" in entry else entry)
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
