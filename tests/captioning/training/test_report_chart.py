import itertools
import re

import pytest

from ogiri.captioning.training.report_page.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Bar,
    Mark,
    Series,
    bar_chart,
    line_chart,
    thin,
    ticks,
)
from tests.captioning.training.reported import structure


def points(chart: str, name: str) -> list[tuple[float, float]]:
    """The places of the line called `s0` or `s1`, the key of the chart left out."""
    line = re.findall(rf'<polyline class="{name}" points="([^"]*)">', chart)[0]
    return [(float(x), float(y)) for x, y in (place.split(",") for place in line.split())]


@pytest.mark.parametrize(
    ("low", "high", "whole", "expected"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (3.02, 4.51, False, [3.5, 4.0, 4.5]),
        (1, 3, True, [1, 2, 3]),
        (1, 20, True, [5, 10, 15, 20]),
        (0, 0.013, False, [0, 0.005, 0.01]),
        (2, 2, False, [2]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low: float, high: float, whole: bool, expected: list[float]):
    found = ticks(low, high, whole)
    assert found == pytest.approx(expected)


def test_a_line_goes_from_the_left_edge_to_the_right_and_higher_is_further_up():
    chart = line_chart("k", "Loss", "falls", [Series("one", [(1, 4.0), (2, 2.0), (3, 1.0)])], "epoch")
    (x1, y1), (x2, y2), (x3, y3) = points(chart, "s0")
    assert (x1, x3) == (LEFT, WIDTH - RIGHT)
    assert x2 == pytest.approx((x1 + x3) / 2)
    assert TOP < y1 < y2 < y3 < HEIGHT - BOTTOM
    assert (y2 - y1) == pytest.approx(2 * (y3 - y2), rel=0.01)


def test_two_lines_differ_by_more_than_colour_and_are_named():
    series = [Series("training", [(1, 4.0), (2, 3.0)]), Series("validation", [(1, 4.5), (2, 3.5)])]
    chart = line_chart("k", "Loss", "both fall", series, "epoch")
    assert points(chart, "s0")[0] != points(chart, "s1")[0]
    assert chart.count("<circle") == 3  # two points and the key
    assert chart.count('<rect class="d1"') == 3
    words = structure(chart).words
    assert "training" in words
    assert "validation" in words


@pytest.mark.parametrize(("epoch", "anchor"), [(1, "start"), (9, "end")])
def test_the_mark_is_written_towards_the_middle(epoch: int, anchor: str):
    line = Series("one", [(n, float(n)) for n in range(1, 10)])
    chart = line_chart("k", "Score", "rises", [line], "epoch", Mark(epoch, f"best: {epoch}"))
    assert re.search(rf'<text class="mark" [^>]*text-anchor="{anchor}">best: {epoch}</text>', chart)
    x = points(chart, "s0")[epoch - 1][0]
    assert f'<line class="mark" x1="{x:.6g}"' in chart


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [-3.0, -3.0], [1e-9, 2e-9]])
def test_flat_and_single_lines_can_be_drawn(values: list[float]):
    chart = line_chart("k", "Flat", "flat", [Series("one", list(enumerate(values)))], "epoch")
    structure(chart)
    assert all(TOP <= y <= HEIGHT - BOTTOM for _, y in points(chart, "s0"))
    assert "nan" not in chart


def test_many_points_are_thinned_and_the_ends_are_kept():
    many = [(float(n), float(n * n)) for n in range(10_000)]
    found = thin(many)
    assert len(found) == MAX_POINTS
    assert (found[0], found[-1]) == (many[0], many[-1])
    chart = line_chart("k", "Many", "many", [Series("one", many)], "step")
    assert len(points(chart, "s0")) == MAX_POINTS
    assert "<circle" not in chart


def test_bars_stand_on_zero_and_do_not_overlap():
    chart = bar_chart("k", "Lengths", "some", [Bar(4, 3), Bar(8, 40), Bar(12, 7)], "characters")
    found = re.findall(r'<rect class="bar" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', chart)
    bars = [tuple(map(float, bar)) for bar in found]
    assert len(bars) == 3
    assert all(y + height == pytest.approx(HEIGHT - BOTTOM, abs=0.01) for _, y, _, height in bars)
    assert bars[1][3] == pytest.approx(40 / 3 * bars[0][3], rel=0.01)
    for left, right in itertools.pairwise(bars):
        assert left[0] + left[2] <= right[0]


def test_a_chart_has_a_title_and_a_description():
    chart = line_chart("loss", "Loss <nats>", "4 → 3", [Series("one", [(1, 4.0), (2, 3.0)])], "epoch")
    assert '<title id="loss-title">Loss &lt;nats&gt;</title><desc id="loss-text">4 → 3</desc>' in chart
    assert 'role="img" aria-labelledby="loss-title loss-text"' in chart
