"""Growth of a job's data, small."""

from __future__ import annotations

from benchmarks.curve import svg
from benchmarks.training.growth import measured, panels


def test_time_and_memory_are_a_table_and_a_picture():
    rows = measured(["one line a picture"], [50, 200])
    assert [row["records"] for row in rows] == [50, 200]
    for row in rows:
        assert 0 < row["scan and clean peak MB"] <= row["fingerprint peak MB"]
    seconds, memory = panels(rows)
    assert [x for x, _ in seconds.lines["one line a picture"]] == [50, 200]
    assert all(y > 0 for _, y in (*seconds.lines["one line a picture"], *memory.lines["one line a picture"]))
    assert "Peak memory" in svg([seconds, memory])
