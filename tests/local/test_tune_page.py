"""What is said about a search, on the terminal and as a page."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from local.options import Options
from local.search import Trial
from local.tune_page import Page, command, render, table

TRIALS = [
    Trial(0, {"learning_rate": "0.001", "decoder_width": "256"}, [0.1, 0.2, 0.25], 0.25, "done", 12.4),
    Trial(1, {"learning_rate": "0.004", "decoder_width": "768"}, [0.05], 0.05, "given up", 3.0),
    Trial(2, {"learning_rate": "0.0021", "decoder_width": "512"}, [0.2, 0.3, 0.35], 0.35, "done", 13.0),
    Trial(3, {"learning_rate": "0.0039", "decoder_width": "512"}, [], None, "failed", 1.0),
]
PAGE = Page(
    metric="validation_cider",
    maximize=True,
    trials=TRIALS,
    best=TRIALS[2],
    parameters=["learning_rate", "decoder_width"],
    command="make demo HYPERPARAMETERS='a=<b>'",
    hyperparameters='{"epochs": "3"}',
)


def rows(page: Page) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in table(page).splitlines()]


def test_the_table_has_the_best_first_and_failures_last():
    assert rows(PAGE) == [
        ["trial", "outcome", "validation_cider", "epochs", "seconds", "learning_rate", "decoder_width"],
        ["2", "done", "0.35", "3", "13", "0.0021", "512"],
        ["0", "done", "0.25", "3", "12", "0.001", "256"],
        ["1", "given up", "0.05", "1", "3", "0.004", "768"],
        ["3", "failed", "–", "0", "1", "0.0039", "512"],
    ]


def test_of_a_loss_the_lowest_is_the_best():
    page = replace(PAGE, metric="validation_loss", maximize=False, best=TRIALS[0])
    assert [row[0] for row in rows(page)[1:]] == ["0", "2", "1", "3"]
    assert "less is better" in render(page)


def test_the_page_is_whole_and_fetches_nothing():
    html = render(PAGE)
    assert "4 trials: 2 done, 1 given up, 1 failed. The best is number 2 with 0.35; more is better." in html
    assert "make demo HYPERPARAMETERS=&#x27;a=&lt;b&gt;&#x27;" in html
    assert not re.search(r"<script|(src|href)=", html)
    assert html.count("<tr>") == 1 + len(TRIALS)


def charts(page: Page) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", render(page), re.DOTALL)]


def test_every_curve_is_drawn_the_best_on_top():
    lines = list(charts(PAGE)[0])
    assert [line.get("class") for line in lines] == ["done", "best"]  # a single epoch is no curve
    assert lines[1].get("points") == "0.0,100.0 280.0,33.3 560.0,0.0"  # 0.2, 0.3, 0.35 between 0.05 and 0.35


def test_every_hyperparameter_is_plotted_against_the_objective():
    _, rate, width = charts(PAGE)
    assert [dot.get("class") for dot in rate] == ["done", "given-up", "best"]
    across = [float(dot.get("cx", "")) for dot in rate]
    assert (across[0], across[1]) == (0.0, 260.0)
    assert across[2] == pytest.approx(260 * 0.535, abs=0.2)  # log(2.1) / log(4)
    assert [float(dot.get("cy", "")) for dot in rate] == [40.0, 120.0, 0.0]
    assert [float(dot.get("cx", "")) for dot in width] == pytest.approx([0, 260, 173.3], abs=0.1)  # in equal steps


def test_a_search_of_one_trial_can_be_shown():
    html = render(replace(PAGE, trials=[TRIALS[2]]))
    assert "nan" not in html


def test_the_command_repeats_the_data_and_quotes(tmp_path: Path):
    demo = Options(tmp_path / "my rows.csv", tmp_path, tmp_path / "weights", {}, tmp_path)
    parts = shlex.split(command(demo, {"encoder": "mobilenet_v2", "dropout": "0.3"}))
    assert parts == [
        "make",
        "demo",
        f"CSV={tmp_path}/my rows.csv",
        f"IMAGES={tmp_path}",
        f"PRETRAINED={tmp_path}/weights",
        "ENCODER=mobilenet_v2",
        "HYPERPARAMETERS=encoder=mobilenet_v2 dropout=0.3",
    ]
    examples = Options(None, None, None, {}, tmp_path)
    assert shlex.split(command(examples, {"epochs": "3"})) == ["make", "demo", "HYPERPARAMETERS=epochs=3"]
