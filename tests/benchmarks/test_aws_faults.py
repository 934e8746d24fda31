"""Faults of the table, small: the functions are really killed, the services really refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.aws.faults import FAULTS, different, suffered
from benchmarks.aws.state_machine import definition

ROWS, PICTURES = 12, 8
THREADS = {"INGEST_THREADS": "4"}
SOME = {  # each kind of trouble, once alone or beside the others; the benchmark has the rest
    name: FAULTS[name] for name in ("function killed in mid-batch", "DynamoDB throttles 30 %", "all at once")
}


@pytest.fixture(scope="module")
def rows():
    over = definition()
    over = replace(over, batch=3, concurrency=2, retry=replace(over.retry, interval=0.1))
    faults = {
        name: replace(fault, kills=min(fault.kills, 1), environment={**fault.environment, **THREADS})
        for name, fault in SOME.items()
    }
    return {row["fault"]: row for row in suffered(faults, ROWS, PICTURES, over)}


@pytest.mark.parametrize("name", SOME)
def test_the_table_is_the_undisturbed_one(rows, name: str):
    row = rows[name]
    assert (row["records"], row["lost"], row["added"], row["changed"], row["wrong"]) == (ROWS, 0, 0, 0, "")


@pytest.mark.parametrize("name", SOME)
def test_the_fault_really_happened(rows, name: str):
    fault, row, calm = SOME[name], rows[name], rows["none"]
    assert bool(row["kills"]) == bool(fault.kills)
    assert row["tried again"] >= row["kills"]
    assert bool(row["refused"]) == bool(fault.throttle)
    assert fault.deliveries == 1 or row["calls"] > calm["calls"]


def test_a_picture_is_analysed_once_unless_two_executions_run_at_once_or_one_is_killed(rows):
    assert rows["none"]["analysed again"] == rows["DynamoDB throttles 30 %"]["analysed again"] == 0


def test_what_is_lost_made_up_and_changed_is_noticed():
    assert different({1: "a", 2: "b"}, {1: "a", 2: "b"}) == {"lost": 0, "added": 0, "changed": 0}
    assert different({1: "a", 2: "b", 3: "c"}, {2: "B", 3: "c", 4: "d", 5: "e"}) == {
        **{"lost": 1, "added": 2, "changed": 1}
    }
