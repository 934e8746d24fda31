import pytest

from benchmarks.summary import markdown, percentile


def test_a_percentile_is_a_value_that_was_measured():
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 0.999) == 100
    assert percentile(values, 0.0) == 1


def test_a_percentile_of_one_value_is_that_value():
    assert percentile([7.0], 0.5) == percentile([7.0], 0.999) == 7.0


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_a_table_has_the_columns_of_all_rows_and_dashes_where_one_lacks_them():
    table = markdown([{"name": "a", "ms": 1234.5}, {"name": "b", "ms": None, "errors": 3}])
    assert table.splitlines() == [
        "| name | ms | errors |",
        "| --- | --- | --- |",
        "| a | 1,234 | – |",
        "| b | – | 3 |",
    ]


def test_small_numbers_keep_three_digits():
    assert markdown([{"x": 0.012345, "y": 12.345}]).splitlines()[-1] == "| 0.0123 | 12.3 |"
