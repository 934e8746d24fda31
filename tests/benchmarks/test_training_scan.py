import json

import pytest

from benchmarks.training.items import LABELS, SHAPES, Shape, segments
from benchmarks.training.scan import OURS, PLAIN, answering, measure


@pytest.mark.parametrize("shape", SHAPES.values(), ids=lambda shape: shape.name)
def test_made_up_records_are_of_their_shape_and_always_the_same(shape: Shape):
    first = [json.loads(item) for segment in segments(200, shape, 4) for item in segment]
    assert first == [json.loads(item) for segment in segments(200, shape, 4) for item in segment]
    assert len(first) == len({(item["ImageKey"]["S"], item["ExpectedResult"]["S"]) for item in first}) == 200
    assert len({item["ImageKey"]["S"] for item in first}) == 200 // shape.lines
    assert {len(item["Labels"]["L"]) for item in first} == {LABELS}


def test_both_ways_read_the_same_table_whole():
    with answering(SHAPES["ten lines a picture"], 200) as url:
        found = {what: measure("benchmarks.training.scan", what, url) for what in (OURS, PLAIN)}
    for figures in found.values():
        assert figures["records/s"] * figures["scan s"] == pytest.approx(200)
        assert 10 < figures["peak MB"] < 1000
