"""The benchmark of the ingest, small, and what it would notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.aws import rekognition
from benchmarks.aws.ingest import LOOP, OURS, measured
from benchmarks.aws.state_machine import Map, Retry, definition

RETRY = Retry(frozenset(), 1.0, 2.0, 3, 10.0)


def test_both_ways_write_the_same_table_and_ours_asks_once_whatever_is_refused():
    over = replace(definition(), batch=4, concurrency=2)
    loop, unbound, bound = measured(12, 8, 0.0, [(LOOP, 1e9), (OURS, 1e9), (OURS, 4.0)], over)
    assert [row["wrong"] for row in (loop, unbound, bound)] == ["", "", ""]
    assert (loop["pictures analysed"], loop["analysed again"]) == (8, 2 * 4)  # four rows are of known pictures
    assert (unbound["pictures analysed"], unbound["analysed again"], unbound["throttled"]) == (8, 0, 0)
    assert (bound["pictures analysed"], bound["analysed again"]) == (8, 0)
    assert bound["throttled"] > 0
    assert "times as fast" in bound


@pytest.mark.parametrize(("batch", "most", "expected"), [(2, 1000, [2, 2, 1]), (50, 10, [2, 2, 1]), (50, 3, [1] * 5)])
def test_batches_end_at_their_items_and_at_their_bytes(batch: int, most: int, expected: list[int]):
    over = Map(batch, most, 1, RETRY)
    batches = list(over.batches(["abc", "def", "ghi", "jkl", "mno"]))
    assert [len(some) for some in batches] == expected
    assert "".join(item for some in batches for item in some) == "abcdefghijklmno"


def test_the_quota_is_that_of_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(rekognition.time, "monotonic", lambda: now[0])
    bucket = rekognition.Bucket(5.0)
    assert [bucket.take() for _ in range(7)] == [True] * 5 + [False] * 2
    now[0] += 0.5
    assert [bucket.take() for _ in range(4)] == [True] * 2 + [False] * 2
