from xml.etree import ElementTree

import pytest

from benchmarks.curve import Panel, bend, svg


def test_a_curve_bends_where_twice_as_much_brings_little_more():
    assert bend([(1, 10.0), (2, 19.0), (4, 30.0), (8, 33.0), (16, 33.5)]) == 4


def test_a_curve_that_rises_to_the_end_does_not_bend():
    assert bend([(1, 10.0), (2, 20.0), (4, 40.0)]) is None


def test_steps_larger_than_twice_are_judged_by_the_doubling():
    assert bend([(1, 10.0), (16, 25.0)]) is None  # 26 % for each of four doublings
    assert bend([(1, 10.0), (16, 16.0)]) == 1  # 12 %


def test_the_picture_shows_each_point_and_the_bend():
    panel = Panel("a < b", "clients", {"p50": [(1, 2.0), (8, 4.0)], "p99": [(1, 3.0)]}, bend=8)
    root = ElementTree.fromstring(svg([panel, panel]))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f".//{name}circle")) == 6
    texts = [element.text for element in root.iter(f"{name}text")]
    assert texts.count("a < b") == texts.count("bends") == 2


def test_a_higher_value_stands_higher():
    root = ElementTree.fromstring(svg([Panel("", "", {"": [(1, 2.0), (8, 4.0)]})]))
    low, high = root.iter("{http://www.w3.org/2000/svg}circle")
    assert float(high.attrib["cy"]) < float(low.attrib["cy"])
    assert float(high.attrib["cx"]) > float(low.attrib["cx"])


def test_a_panel_without_points_is_refused_by_its_title():
    with pytest.raises(ValueError, match="lines a second"):
        svg([Panel("lines a second", "", {"": []})])
