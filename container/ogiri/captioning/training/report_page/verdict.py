"""The first thing that a reader wants to know: can this model be used, and what should they be careful about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogiri.captioning.training.report_page.element import Html, element, joined, table
from ogiri.captioning.training.report_page.figure import hundredth, main_figures, measured_on, number

_SHUFFLED = {
    "picture": "another one's picture",
    "labels_and_text": "another one's labels and text",
    "everything": "everything another one's",
}
SERIOUS = ("collapsed", "the picture, labels and text are not used")


def verdict(figures: Mapping[str, Any]) -> tuple[str, str]:
    """One sentence, and how grave it is: `good`, `careful` or `bad`."""
    kinds = [kind_of(warning)[0] for warning in figures["warnings"]]
    serious = [kind for kind in kinds if kind in SERIOUS]
    free = figures["free_running"]
    if serious:
        return f"Do not use it as it is: {', '.join(serious)}.", "bad"
    if free is None:
        return "Not measured: the job was asked to end early.", "careful"
    if free["split"] != "validation":
        return "Not tested on pictures that it has not seen.", "careful"
    if kinds:
        things = "one thing" if len(kinds) == 1 else f"{len(kinds)} things"
        return (
            f"Nothing speaks against using it, but there {'is' if len(kinds) == 1 else 'are'} {things} to know.",
            "careful",
        )
    return "No warning: its lines differ, depend on the picture and are its own.", "good"


def kind_of(warning: str) -> tuple[str, str]:
    """`collapsed: only 3 % …` → what it is, and the rest of the sentence."""
    kind, _, text = warning.partition(": ")
    return kind, text


def verdict_section(figures: Mapping[str, Any]) -> Html:
    """The sentence, and the warnings."""
    sentence, grave = verdict(figures)
    warnings = [kind_of(warning) for warning in figures["warnings"]]
    listed = element("ul", joined(element("li", element("b", f"{kind}: "), text) for kind, text in warnings))
    return element(
        "section",
        element("p", sentence),
        listed if warnings else "",
        element("p", "None of the figures says whether a line is funny: read the lines.", class_="soft"),
        class_=f"verdict {grave}",
        aria_label="Verdict",
        id="verdict",
    )


def figures_section(figures: Mapping[str, Any]) -> Html:
    """The main figures, and the scores with what belongs to another picture."""
    found = main_figures(figures)
    return element(
        "section",
        element("h2", "Main figures"),
        element("p", measured_on(figures)),
        element(
            "dl",
            joined(
                element("div", element("dt", f.name), element("dd", f.value), element("dd", f.meaning)) for f in found
            ),
            class_="figures",
        ),
        _shuffled(figures["free_running"]),
        id="figures",
    )


def _shuffled(free: Mapping[str, Any] | None) -> Html:
    """Scores with the right picture and with another one's: a model that looks scores lower with the wrong one."""
    if free is None:
        return Html()
    nats = free["nats_per_token"]
    rows: list[Sequence[str]] = [_row("what belongs to it", free, nats["right"])]
    rows += [_row(words, free["shuffled"][name], nats[f"shuffled_{name}"]) for name, words in _SHUFFLED.items()]
    return joined(
        [
            element("h3", "Does it look?"),
            element(
                "p",
                "Each picture was also answered with what belongs to another one. A model that looks is worse then; "
                "one that does not look stays the same.",
            ),
            table(
                "Scores by what stands beside a picture",
                ["Answered with", "chrF2", "CIDEr", "BLEU-4", "Nats a token"],
                rows,
            ),
        ]
    )


def _row(title: str, scores: Mapping[str, float], nats: float) -> list[str]:
    return [title, hundredth(scores["chrf"]), number(scores["cider"]), hundredth(scores["bleu_4"]), number(nats)]
