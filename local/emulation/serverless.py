"""What SAM's transform makes of the serverless types that template.yaml has, as far as moto creates it.

https://github.com/aws/serverless-application-model; a test holds it against the transform itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set
from typing import Any
from urllib.parse import urlsplit

TRANSFORM = "AWS::Serverless-2016-10-31"

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_SUBSTITUTE = re.compile(r"\$\{([A-Za-z0-9]+)[.}]")
# Layers: moto does not read them at first and fails at an update; the code that runs is that of this folder anyway.
_LEFT_OUT = {
    "AWS::Serverless::Function": {"EventInvokeConfig", "Layers"},
    "AWS::Serverless::LayerVersion": {"RetentionPolicy"},
}

Template = dict[str, Any]
Read = Callable[[str, str], str]


def expanded(template: Template, read: Read) -> Template:
    """The template without serverless types; one without the transform comes back as it is.

    Args:
        template: with the long forms of functions, `{"Fn::GetAtt": ["Bucket", "Arn"]}`.
        read: bucket and key → an uploaded file, for definitions of state machines.

    Raises:
        ValueError: a serverless type that this project does not use, or code that was not uploaded.
    """
    if template.get("Transform") != TRANSFORM:
        return template
    every = template.get("Globals", {})
    resources = {name: _expanded(value, every, read) for name, value in template["Resources"].items()}
    rest = {name: value for name, value in template.items() if name not in ("Transform", "Globals")}
    return {**rest, "Resources": resources}


def known(template: Template, types: Set[str]) -> Template:
    """The template without resources of other types, without what refers to one of them, and without such outputs."""
    resources = dict(template["Resources"])
    while True:
        gone = {name for name, value in resources.items() if value["Type"] not in types}
        gone |= {
            name
            for name, value in resources.items()
            if references(value) & template["Resources"].keys() - resources.keys()
        }
        if not gone:
            break
        resources = {name: value for name, value in resources.items() if name not in gone}
    missing = template["Resources"].keys() - resources.keys()
    outputs = {name: value for name, value in template.get("Outputs", {}).items() if not references(value) & missing}
    return {**template, "Resources": resources, "Outputs": outputs}


def references(value: Any) -> set[str]:
    """Names that a part of a template refers to: of resources, parameters, and of what AWS defines."""
    return set(_references(value))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _references(part)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name == "Ref":
            yield inner
        elif name == "Fn::GetAtt":
            yield inner[0]
        elif name == "Fn::Sub":
            yield from _SUBSTITUTE.findall(inner if isinstance(inner, str) else inner[0])
        yield from _references(inner)


def _expanded(resource: Any, every: Template, read: Read) -> Any:
    kind = resource["Type"]
    if not kind.startswith("AWS::Serverless::"):
        return resource
    if kind not in _EXPANSIONS:
        raise ValueError(f"{kind} is not expanded locally: there are {', '.join(_EXPANSIONS)}")
    properties = _merged(every.get(kind.rpartition("::")[2], {}), resource["Properties"])
    properties = {name: value for name, value in properties.items() if name not in _LEFT_OUT.get(kind, ())}
    rest = {name: value for name, value in resource.items() if name in ("Condition", "DependsOn", "DeletionPolicy")}
    return {**rest, **_EXPANSIONS[kind](properties, read)}


def _function(properties: Template, _read: Read) -> Template:
    code = properties.pop("CodeUri")
    return {"Type": "AWS::Lambda::Function", "Properties": {**properties, "Code": _place(code)}}


def _layer(properties: Template, _read: Read) -> Template:
    content = properties.pop("ContentUri")
    return {"Type": "AWS::Lambda::LayerVersion", "Properties": {**properties, "Content": _place(content)}}


def _state_machine(properties: Template, read: Read) -> Template:
    place = _place(properties.pop("DefinitionUri"))
    definition = read(place["S3Bucket"], place["S3Key"])
    values = properties.pop("DefinitionSubstitutions", {})
    renamed = {
        "Name": "StateMachineName",
        "Role": "RoleArn",
        "Type": "StateMachineType",
        "Logging": "LoggingConfiguration",
    }
    # moto's Fn::Sub reads $$ as a dollar sign, which a definition has as $$.Execution.
    parts = [values[part] if number % 2 else part for number, part in enumerate(_PLACEHOLDER.split(definition))]
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            **{renamed.get(name, name): value for name, value in properties.items()},
            "DefinitionString": {"Fn::Join": ["", parts]},
        },
    }


_EXPANSIONS: dict[str, Callable[[Template, Read], Template]] = {
    "AWS::Serverless::Function": _function,
    "AWS::Serverless::LayerVersion": _layer,
    "AWS::Serverless::StateMachine": _state_machine,
}


def _place(uri: Any) -> dict[str, str]:
    if isinstance(uri, dict):
        return {"S3Bucket": uri["Bucket"], "S3Key": uri["Key"]}
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        raise ValueError(f"{uri} is not uploaded: `sam package` or `sam deploy` does that")
    return {"S3Bucket": parts.netloc, "S3Key": parts.path.lstrip("/")}


def _merged(every: Any, own: Any) -> Any:
    """SAM's rule for Globals: maps are joined, lists come one after the other, else the resource's own value counts."""
    if isinstance(every, dict) and isinstance(own, dict):
        return {
            **every,
            **{name: _merged(every[name], value) if name in every else value for name, value in own.items()},
        }
    if isinstance(every, list) and isinstance(own, list):
        return [*every, *own]
    return own
