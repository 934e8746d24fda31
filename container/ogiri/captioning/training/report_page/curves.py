"""How training went, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogiri.captioning.training.report_page.chart import Mark, Series, line_chart
from ogiri.captioning.training.report_page.element import Html, details, element, joined, table
from ogiri.captioning.training.report_page.figure import number

MAX_ROWS = 60  # of the table of epochs

History = Sequence[Mapping[str, float]]

_CHARTS: Sequence[tuple[str, str, Mapping[str, str]]] = (
    ("loss", "Loss (nats a token)", {"train_loss": "training", "validation_loss": "validation"}),
    ("bleu", "BLEU-4 of greedy lines", {"validation_bleu": "BLEU-4"}),
    ("cider", "CIDEr of greedy lines", {"validation_cider": "CIDEr"}),
    ("chrf", "chrF2 of greedy lines", {"validation_chrf": "chrF2"}),
    ("reward", "Reward of drawn lines (CIDEr)", {"train_reward": "reward"}),
    ("rate", "Learning rate", {"learning_rate": "learning rate"}),
)
_COLUMNS = {
    "epoch": "Epoch",
    "train_loss": "Training loss",
    "train_reward": "Reward",
    "validation_loss": "Validation loss",
    "validation_nats_per_character": "Nats a character",
    "validation_bleu": "BLEU-4",
    "validation_cider": "CIDEr",
    "validation_chrf": "chrF2",
    "learning_rate": "Learning rate",
    "epoch_seconds": "Seconds",
    "tokens_per_second": "Tokens a second",
}


def curves_section(figures: Mapping[str, Any]) -> Html:
    """Charts and a table of all epochs."""
    history: History = figures["history"]
    heading = element("h2", "Training")
    if not history:
        return element(
            "section",
            heading,
            element("p", "No epoch was finished, so there are no curves: the weights are those of the last step."),
            id="training",
        )
    best = int(figures["best_epoch"])
    charts = [_chart(key, title, names, history, best) for key, title, names in _CHARTS]
    return element(
        "section",
        heading,
        element("p", _course(history, best, figures["hyperparameters"])),
        element("div", joined(charts), class_="charts"),
        _table(history, best),
        id="training",
    )


def _course(history: History, best: int, asked_for: Mapping[str, Any]) -> str:
    done, asked = len(history), int(asked_for["epochs"]) + int(asked_for["scst_epochs"])
    text = f"{done} of {asked} epochs. " if done < asked else f"All {done} epochs. "
    if not best:
        return text + "Nothing was validated: the weights of the end are shipped."
    text += f"The weights of epoch {best} are shipped, marked in the charts."
    if best == done == asked:
        text += " The last epoch was the best one: more epochs may help."
    return text


def _chart(key: str, title: str, names: Mapping[str, str], history: History, best: int) -> Html:
    series = [
        Series(words, [(epoch["epoch"], epoch[name]) for epoch in history if name in epoch])
        for name, words in names.items()
    ]
    series = [one for one in series if one.points]
    if not series:
        return Html()
    text = "; ".join(
        f"{one.name} {number(one.points[0][1])} → {number(one.points[-1][1])}" if len(one.points) > 1
        else f"{one.name} {number(one.points[0][1])}"
        for one in series
    )  # fmt: skip
    validated = best and any(name.startswith("validation_") for name in names)
    mark = Mark(best, f"best: {best}") if validated else None
    return line_chart(key, title, f"By epoch: {text}.", series, "epoch", mark)


def _table(history: History, best: int) -> Html:
    there = dict.fromkeys(name for epoch in history for name in epoch)
    columns = {name: title for name, title in _COLUMNS.items() if name in there}
    columns |= {name: name.replace("_", " ") for name in there if name not in _COLUMNS}
    shown = sorted({*_evenly(len(history)), *([best - 1] if best else [])})
    rows = [
        [
            f"{history[i]['epoch']:.0f}" + (" (shipped)" if i + 1 == best else ""),
            *(number(history[i].get(name)) for name in list(columns)[1:]),
        ]
        for i in shown
    ]
    some = "" if len(shown) == len(history) else f" ({len(shown)} of {len(history)} epochs; all are in metrics.json)"
    return details("All numbers", table(f"Figures of each epoch{some}", columns.values(), rows, "epochs"))


def _evenly(count: int) -> list[int]:
    if count <= MAX_ROWS:
        return list(range(count))
    return [round(i * (count - 1) / (MAX_ROWS - 1)) for i in range(MAX_ROWS)]
