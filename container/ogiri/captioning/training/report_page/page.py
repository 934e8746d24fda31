"""The report of a job as one HTML file that asks nothing of anybody: no script, no address but `data:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ogiri.captioning.training.report_page.curves import curves_section
from ogiri.captioning.training.report_page.data import ReportData
from ogiri.captioning.training.report_page.data_section import data_section
from ogiri.captioning.training.report_page.element import Html, element, joined
from ogiri.captioning.training.report_page.looks import looks_section
from ogiri.captioning.training.report_page.pictures import pictures_section
from ogiri.captioning.training.report_page.run_section import reproduce_section, time_section, weights_section
from ogiri.captioning.training.report_page.style import STYLE
from ogiri.captioning.training.report_page.verdict import figures_section, verdict_section

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CONTENTS = {
    "figures": "Main figures",
    "lines": "Lines",
    "looks": "Where it looked",
    "training": "Training",
    "data": "Data",
    "weights": "Weights",
    "time": "Time and machine",
    "again": "Do it again",
}

DECODERS = {"lstm": "LSTM", "gpt2": "GPT-2"}


def render(report: ReportData) -> str:
    """The page as HTML."""
    figures = report.figures
    title = f"{figures['job']}: training report"
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", title),
            element("style", Html(STYLE)),
        ),
        element(
            "body",
            _header(figures),
            element(
                "main",
                verdict_section(figures),
                figures_section(figures),
                pictures_section(report.shown, figures),
                looks_section(report.looks, report.no_looks, figures),
                curves_section(figures),
                data_section(figures),
                weights_section(figures),
                time_section(figures),
                reproduce_section(figures),
            ),
            element("footer", "Every figure of this page stands in metrics.json beside it."),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _header(figures: Mapping[str, Any]) -> Html:
    encoder = "trained too" if trains_encoder(figures) else "frozen"
    text = (
        f"{DECODERS[figures['decoder']]} decoder on {figures['encoder']} ({encoder}), trained on "
        f"{figures['train_lines']:,} lines of {figures['train_pictures']:,} pictures. "
    )
    created = element("time", figures["created"])
    links = joined(element("li", element("a", words, href=f"#{name}")) for name, words in _CONTENTS.items())
    contents = element("nav", element("ul", links), aria_label="Contents")
    return element("header", element("h1", str(figures["job"])), element("p", text, created, class_="soft"), contents)


def trains_encoder(figures: Mapping[str, Any]) -> bool:
    """Whether the encoder's weights were trained."""
    values = figures["hyperparameters"]
    return bool(values["finetune_encoder"] or values["encoder_weights"] == "none")
