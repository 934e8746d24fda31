"""Markup built element by element: whatever is no markup is escaped, and whatever is opened is closed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"img", "meta"})
_NEVER_IN_A_PAGE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Html(str):
    """Markup that stands in the page as it is; only this module's functions and constants of the code make it."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """`<name …>children</name>`.

    Args:
        name: `td`.
        children: `Html` as it is, any other string escaped.
        attributes: `class_` and `aria_label` become `class` and `aria-label`; None is left out.
    """
    given = "".join(
        f' {key.strip("_").replace("_", "-")}="{_escaped(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Html:
    """Several pieces one after the other; what is no `Html` is escaped."""
    return Html("".join(child if isinstance(child, Html) else _escaped(child) for child in children))


def table(caption: str, head: Iterable[str], rows: Iterable[Iterable[str]], class_: str | None = None) -> Html:
    """A table whose first column names the rows; it scrolls by itself where the page is narrow."""
    columns = joined(element("th", title, scope="col") for title in head)
    body = joined(
        element("tr", element("th", first, scope="row"), *(element("td", value) for value in others))
        for first, *others in rows
    )
    whole = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", columns)),
        element("tbody", body),
        class_=class_,
    )
    # A region that scrolls must be reachable with the keyboard.
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def details(summary: str, *children: str) -> Html:
    """Something to unfold."""
    return element("details", element("summary", summary), *children)


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _escaped(text: str) -> str:
    return escape(_NEVER_IN_A_PAGE.sub("\ufffd", text))
