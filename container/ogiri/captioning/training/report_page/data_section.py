"""What the model was trained on: what was read, what was left out and why, and whether the two sides are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogiri.captioning.training.report_page.chart import Bar, bar_chart
from ogiri.captioning.training.report_page.element import Html, details, element, joined, table
from ogiri.captioning.training.report_page.figure import number, several, share
from ogiri.captioning.training.report_page.pictures import clipped
from ogiri.captioning.training.report_warnings import SHARED_ABOVE

EXAMPLES = 10  # of anything that is listed


def data_section(figures: Mapping[str, Any]) -> Html:
    """Counts, the split, the check for leakage, and how long the lines are."""
    data = figures["data"]
    return element(
        "section",
        element("h2", "Data"),
        _sides(data),
        element("h3", "Are the two sides apart?"),
        _checks(figures),
        element("h3", "What was left out"),
        _left_out(data),
        element("h3", "How long the lines are"),
        _lengths(data["line_characters"]),
        _known(data),
        id="data",
    )


def _sides(data: Mapping[str, Any]) -> Html:
    rows = [
        [title, *(number(data[side][name]) for name in ("pictures", "lines", "groups"))]
        for side, title in (("train", "trained on"), ("validation", "held out"))
    ]
    rows.insert(0, ["read", number(data["pictures_read"]), number(data["records_read"]), "–"])
    return table(
        "Pictures and lines", ["Which", "Pictures", "Lines", "Groups (pictures that look alike are one)"], rows
    )


def _checks(figures: Mapping[str, Any]) -> Html:
    data = figures["data"]
    both, held_out = figures["pictures_on_both_sides"], data["validation"]["lines"]
    near, shared = data["near_duplicates"], data["shared_lines"]
    part = f", {share(shared / held_out)} of those held out" if held_out else ""
    return element(
        "ul",
        _check(not both, f"On both sides: {several(both, 'picture')}."),
        _check(
            True,
            f"Pictures that look alike: {several(near['groups'], 'group')} of {several(near['pictures'], 'picture')} "
            f"in all, the largest of {number(near['largest'])}. A group is on one side as a whole.",
            _list("Some of the groups", [", ".join(group) for group in near["examples"]]),
        ),
        _check(
            shared <= SHARED_ABOVE * held_out,
            f"Held out, and in the training lines word for word: {several(shared, 'line')}{part}.",
            _list("Some of these lines", data["shared_examples"]),
        ),
        class_="checks",
    )


def _check(good: bool, text: str, *more: str) -> Html:
    sign = element("b", "✓" if good else "!", aria_hidden="true")
    return element("li", sign, text, *more, class_="ok" if good else "no")


def _left_out(data: Mapping[str, Any]) -> Html:
    broken = data["broken_pictures"]
    rows = [[one["reason"], "–", number(one["count"])] for one in data["dropped_lines"]]
    rows.append(["no line was left", number(data["dropped_pictures"]), "–"])
    rows.append(["the picture cannot be read", number(len(broken)), "–"])
    rows.append(["not left out, but cut at max_length", "–", number(data["cut_lines"])])
    examples = [
        _list(f"Examples: {one['reason']}", [f"{each['image_key']}: {each['line']}" for each in one["examples"]])
        for one in data["dropped_lines"]
    ]
    examples.append(_list("Pictures that could not be read", [f"{one['key']}: {one['reason']}" for one in broken]))
    return joined([table("Left out", ["Why", "Pictures", "Lines"], rows), *examples])


def _lengths(lengths: Mapping[str, Any]) -> Html:
    bins = lengths["bins"]
    if not bins:
        return element("p", "There are no lines.")
    text = (
        f"On average {lengths['mean']:.1f} characters; half of the lines have at most {lengths['p50']}, "
        f"19 in 20 at most {lengths['p95']}, the longest has {lengths['longest']}."
    )
    bars = [Bar(one["start"], one["count"]) for one in bins]
    chart = bar_chart("lengths", "Lines by their length", text, bars, "characters")
    rows = [[_range(one["start"], one["end"] - 1), number(one["count"])] for one in bins]
    return joined(
        [
            element("div", chart, class_="charts"),
            details("As numbers", table("Lines by their length", ["Characters", "Lines"], rows)),
        ]
    )


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _known(data: Mapping[str, Any]) -> Html:
    labels = data["labels_per_picture"]
    return element(
        "p",
        f"A picture has {labels['mean']:.1f} labels on average, at most {labels['longest']}; "
        f"{share(data['pictures_with_text'])} have detected text; {share(data['lines_with_score'])} of the lines have "
        "a score.",
    )


def _list(title: str, lines: Sequence[str]) -> Html:
    if not lines:
        return Html()
    listed = joined(element("li", clipped(line)) for line in lines[:EXAMPLES])
    more = element("p", f"and {number(len(lines) - EXAMPLES)} more") if len(lines) > EXAMPLES else Html()
    return details(title, element("ul", listed), more)
