"""State machines with batches of items, and executions without a name.

moto's interpreter knows ItemReader and ItemSelector, but no ItemBatcher.

A definition stays as it is: when it is parsed, ItemBatcher becomes a selector of what its batches look like, and the
reader of items is told how many go into one.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_eval_s3 import (
    ResourceEvalS3,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local.emulation.batches import batches

LIMITS = ("MaxItemsPerBatch", "MaxInputBytesPerBatch")


def install() -> None:
    """Let moto's interpreter take them."""
    parse, get_object = AmazonStateLanguageParser.parse, ResourceEvalS3._handle_get_object

    def handle_get_object(env: Any, *others: Any) -> None:
        parameters = env.stack[-1]
        limits = {name: parameters.pop(name) for name in LIMITS if name in parameters}
        get_object(env, *others)
        if limits:
            items = json.loads(env.stack.pop())
            env.stack.append(json.dumps(list(batches(items, *(limits.get(name) for name in LIMITS)))))

    start = StepFunctionsParserBackend.start_execution

    def start_execution(self: Any, machine: str, name: str | None = None, *others: Any, **more: Any) -> Any:
        return start(self, machine, name or str(uuid.uuid4()), *others, **more)  # moto calls all without one "None"

    StepFunctionsParserBackend.start_execution = start_execution  # type: ignore[method-assign,assignment]
    AmazonStateLanguageParser.parse = staticmethod(lambda definition: parse(adapted(definition)))  # type: ignore[method-assign]
    ResourceEvalS3._handle_get_object = staticmethod(handle_get_object)  # type: ignore[method-assign,assignment]


def adapted(definition: str) -> str:
    """A definition without ItemBatcher."""
    return json.dumps(_adapted(json.loads(definition)))


def _adapted(value: Any) -> Any:
    if isinstance(value, list):
        return [_adapted(part) for part in value]
    if not isinstance(value, dict):
        return value
    state = {name: _adapted(part) for name, part in value.items()}
    batcher = state.pop("ItemBatcher", None)
    if batcher is not None:
        limits = {name: batcher[name] for name in LIMITS if name in batcher}
        reader = state["ItemReader"]
        state["ItemReader"] = {**reader, "Parameters": {**reader["Parameters"], **limits}}
        state["ItemSelector"] = {"Items.$": "$$.Map.Item.Value", "BatchInput": batcher.get("BatchInput", {})}
    return state
