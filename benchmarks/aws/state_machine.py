"""The way of an upload through `prepare` and the Map over its items, by the figures of statemachine/ingest.asl.json.

Batches, how many run at a time, which errors are tried again and after which pauses are the definition's own. Functions
are processes; as on Lambda, one that is free is used again, and one that died is replaced.
"""

from __future__ import annotations

import json
import queue
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.aws.function import Event, Function, FunctionError
from benchmarks.machine import ROOT
from local.emulation.batches import batches

DEFINITION = ROOT / "statemachine" / "ingest.asl.json"


@dataclass(frozen=True)
class Retry:
    """As Step Functions has it, with full jitter."""

    errors: frozenset[str]
    interval: float
    rate: float
    attempts: int
    most: float

    def pause(self, retries: int) -> float:
        """Seconds before one more try, after so many."""
        return random.uniform(0, min(self.most, self.interval * self.rate**retries))  # noqa: S311


@dataclass(frozen=True)
class Map:
    """The Distributed Map.

    Attributes:
        batch: items, at most.
        batch_bytes: of their JSON, at most.
        concurrency: batches at a time.
        retry: of a batch.
    """

    batch: int
    batch_bytes: int
    concurrency: int
    retry: Retry

    def batches(self, items: list[Any]) -> Iterator[list[Any]]:
        """The items, batch after batch."""
        return batches(items, self.batch, self.batch_bytes)


def definition() -> Map:
    """The one that is deployed."""
    ingest = json.loads(DEFINITION.read_text())["States"]["Ingest"]
    (retry,) = ingest["ItemProcessor"]["States"]["Batch"]["Retry"]
    assert retry["JitterStrategy"] == "FULL"
    return Map(
        ingest["ItemBatcher"]["MaxItemsPerBatch"],
        ingest["ItemBatcher"]["MaxInputBytesPerBatch"],
        ingest["MaxConcurrency"],
        Retry(
            frozenset(retry["ErrorEquals"]),
            retry["IntervalSeconds"],
            retry["BackoffRate"],
            retry["MaxAttempts"],
            retry["MaxDelaySeconds"],
        ),
    )


class Functions:
    """So many processes of a function, that executions share."""

    def __init__(self, name: str, environment: Mapping[str, str], count: int) -> None:
        self._name, self._environment = name, environment
        self._lock = threading.Lock()
        self._free: queue.SimpleQueue[Function] = queue.SimpleQueue()
        with ThreadPoolExecutor(count) as pool:
            self._all = list(pool.map(lambda _: Function(name, environment), range(count)))
        for function in self._all:
            self._free.put(function)

    def call(self, event: Event) -> Event:
        """The answer of one of them, as soon as one is free.

        Raises:
            FunctionError: what it raised, or that it died.
        """
        function = self._free.get()
        try:
            return function.call(event)
        finally:
            if function.process.poll() is not None:
                function = self._replaced(function)
            self._free.put(function)

    def kill_one(self) -> bool:
        """SIGKILL for a process that is at work; whether there was one."""
        with self._lock:
            at_work = [function for function in self._all if function.busy and function.process.poll() is None]
            if not at_work:
                return False
            victim = random.choice(at_work)  # noqa: S311
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait()
            return True

    def close(self) -> None:
        """End all of them."""
        for function in self._all:
            function.close()

    def _replaced(self, function: Function) -> Function:
        function.close()
        new = Function(self._name, self._environment)
        with self._lock:
            self._all[self._all.index(function)] = new
        return new


@dataclass(frozen=True)
class Execution:
    """What became of an upload: the batches' reports added up, and how often one was tried again after an error.

    Where another execution has it, nothing did.
    """

    prepared: Event
    report: Mapping[str, int]
    retries: int


def run(prepare: Functions, ingest: Functions, s3: Any, upload: Event, name: str, over: Map) -> Execution:
    """Walk the way of an upload.

    Raises:
        FunctionError: a function failed for good.
    """
    prepared = prepare.call({"execution": name, "upload": upload})
    if "taken_by" in prepared:
        return Execution(prepared, {}, 0)
    items = json.loads(s3.get_object(Bucket=prepared["bucket"], Key=prepared["key"])["Body"].read())
    events = [{"Items": batch, "BatchInput": {"execution": name}} for batch in over.batches(items)]
    with ThreadPoolExecutor(over.concurrency) as pool:
        answers = list(pool.map(lambda event: _batch(ingest, event, over.retry), events))
    report: dict[str, int] = {}
    for answer, _ in answers:
        for count, number in answer["report"].items():
            report[count] = report.get(count, 0) + number
    return Execution(prepared, report, sum(retries for _, retries in answers))


def _batch(ingest: Functions, event: Event, retry: Retry) -> tuple[Event, int]:
    """`ingest` again and again until nothing of the batch is unfinished; the last answer, and the retries."""
    retries = all_retries = 0
    while True:
        try:
            event = ingest.call(event)
        except FunctionError as error:
            if error.name not in retry.errors or retries == retry.attempts:
                raise
            time.sleep(retry.pause(retries))
            retries, all_retries = retries + 1, all_retries + 1
            continue
        if not event["unfinished"]:
            return event, all_retries
        retries = 0
