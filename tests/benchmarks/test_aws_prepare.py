"""The benchmark of `prepare`, small."""

from __future__ import annotations

from benchmarks.aws.prepare import measured, memory_setting, panels
from benchmarks.curve import svg


def test_every_size_is_prepared_whole_in_less_than_half_of_the_functions_memory():
    rows = measured([200, 5_000])
    assert [row["rows"] for row in rows] == [200, 5_000]
    assert [row["pictures"] for row in rows] == [120, 3_000]
    for row in rows:
        assert 20 < row["before MB"] <= row["peak MB"] < memory_setting() / 2
    assert "Peak memory" in svg(panels(rows, memory_setting()))
