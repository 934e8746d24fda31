"""The page that is made of a report's plain values."""

import dataclasses
import io
import itertools
import json
import random
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ogiri.captioning.training.report_page.data import Look, ReportData, Shown, Thumbnail
from ogiri.captioning.training.report_page.element import Html, element, joined
from ogiri.captioning.training.report_page.figure import number, share
from ogiri.captioning.training.report_page.looks import heat
from ogiri.captioning.training.report_page.page import render
from ogiri.captioning.training.report_page.style import DARK, LIGHT, TEXT
from ogiri.captioning.training.report_page.verdict import verdict
from ogiri.captioning.training.report_pictures import EACH, MAX_THUMBNAIL_BYTES
from tests.captioning.training.reported import (
    FREE_RUNNING,
    HISTORY,
    HOSTILE,
    QUANTIZATION,
    SUMMARY,
    figures,
    glances,
    report,
    sample,
    stopped,
    structure,
    thumbnail,
)

SECTIONS = ["verdict", "figures", "lines", "looks", "training", "data", "weights", "time", "again"]
MOST_BYTES = 3_000_000


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_and_the_way_to_do_it_again_last():
    html = render(report())
    places = [html.index(f'id="{name}"') for name in SECTIONS]
    assert places == sorted(places)
    links = [value for value in structure(html).values("href") if not value.startswith("#look0")]
    assert {f"#{name}" for name in SECTIONS[1:]} <= set(links)


@pytest.mark.parametrize(("decoder", "name"), [("lstm", "LSTM"), ("gpt2", "GPT-2")])
def test_what_was_trained_has_the_name_that_people_know(decoder: str, name: str):
    assert f"{name} decoder on " in structure(render(report(figures(decoder=decoder)))).words


def test_the_numbers_are_those_of_the_metrics():
    words = structure(render(report())).words
    for expected in (
        "0.660 nats",  # the picture-shuffle gap
        "Nats a token 3.210",
        "(3.210 → 3.870)",  # with another picture
        "0.432",  # CIDEr
        "9.9",  # BLEU-4
        "8.8",  # with MeCab
        "23.4",  # chrF2
        "86 %",  # unique
        "12 %",  # copied
        "1.625",  # nats a character
        "18.3 MB",
        "5.2 MB",
        "3.2101",
        "3.2104",
        "99 % of the tokens",  # the same favourite
        "1.5e-05",
        "61.8 s",  # in all
        "BLEU-4 3.000 → 9.000",
    ):
        assert expected in words, expected


def test_a_picture_stands_beside_its_lines_scores_labels_text_and_references():
    found = structure(render(report()))
    for expected in ("猫の会議", "猫が寝る -1.23", "また猫か -2.50", "Cat 98", "Sofa", "本日休業", "chrF2 34.6"):
        assert expected in found.words, expected
    assert "What people wrote (2)" in found.words
    assert "会議、まだ続く？" in found.words
    assert found.tags.count("img") == 3
    assert found.values("alt") == ["a.png: Cat, Sofa"] * 3
    assert found.words.index("went best") < found.words.index("in the middle") < found.words.index("went worst")


def test_each_piece_of_a_line_shows_where_the_decoder_looked():
    found = structure(render(report()))
    for expected in ("猫 picture 60 %, labels 25 %, rest 15 %", "⏎", "(end) rest 80 %", "25 % (most: Cat)"):
        assert expected in found.words, expected
    assert found.values("aria-label").count("looked most at the bottom left") == 2
    assert len([value for value in found.values("href") if value == "#look0"]) == 3  # the picture and two veils


def test_the_best_epoch_is_marked_and_named():
    found = structure(render(report()))
    assert "The weights of epoch 2 are shipped" in found.words
    assert found.words.count("best: 2") == 4
    assert "2 (shipped)" in found.words


def test_a_chart_says_in_words_what_it_shows():
    html = render(report())
    found = structure(html)
    assert "training 4.000 → 2.000; validation 4.000 → 3.260" in found.words
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    referred = [name for value in found.values("aria-labelledby") for name in value.split()]
    assert len(referred) == 2 * 5
    assert set(referred) <= set(ids)
    assert 'class="s1"' in html
    assert "stroke-dasharray" in found.style  # not colour alone


def test_the_learning_rate_is_drawn_where_the_history_has_it():
    history = [{**epoch, "learning_rate": 0.001 / epoch["epoch"]} for epoch in HISTORY]
    assert "Learning rate" not in structure(render(report())).words
    assert "learning rate 0.001 → 0.00033" in structure(render(report(figures(history=history)))).words


def test_the_data_and_the_check_for_leakage():
    words = structure(render(report())).words
    for expected in (
        "trained on 60 110 58",
        "held out 7 12 7",
        "✓ On both sides: no pictures.",
        "Pictures that look alike: 1 group of 3 pictures in all",
        "a.png, b.png, c.png",
        "word for word: 1 line, 8 % of those held out.",
        "同じ行",
        "longer than 20 characters – 3",
        "a.png: 長い行",
        "bad.png: cut off",
        "On average 11.5 characters",
        "8 to 11 40",
        "25 % have detected text",
    ):
        assert expected in words, expected
    worse = figures(pictures_on_both_sides=2, data=dataclasses.replace(SUMMARY, shared_lines=9).as_dict())
    words = structure(render(report(worse))).words
    assert "! On both sides: 2 pictures." in words
    assert "! Held out, and in the training lines word for word: 9 lines" in words


def test_an_unknown_figure_of_an_epoch_is_in_the_table():
    history = [{**epoch, "some_figure": 0.5} for epoch in HISTORY]
    assert "some figure" in structure(render(report(figures(history=history)))).words


def test_epochs_of_another_stage_have_what_they_have():
    reward = {"epoch": 4, "train_reward": 0.25, "validation_loss": 3.9, "validation_cider": 0.5}
    values = {**figures()["hyperparameters"], "scst_epochs": 2}
    words = structure(render(report(figures(history=[*HISTORY, reward], hyperparameters=values)))).words
    assert "4 of 5 epochs." in words
    assert "reward 0.250." in words
    assert "training 4.000 → 2.000; validation 4.000 → 3.900" in words


# --- jobs that went otherwise ----------------------------------------------------------------------------------------


def test_a_job_that_was_stopped_early_has_a_page():
    data = ReportData(stopped(), [], [], "There is no line to look at: the job was asked to end early.")
    found = structure(render(data))
    assert "Not measured: the job was asked to end early." in found.words
    assert "No epoch was finished" in found.words
    assert "There is no line to look at" in found.words


def test_nothing_validated():
    history = [{"epoch": n, "train_loss": 4.0 - n} for n in (1, 2)]
    told = {name: value for name, value in figures().items() if not name.startswith("validation_n")}
    told |= {
        "history": history,
        "best_epoch": 0,
        "validation_pictures": 0,
        "free_running": {**FREE_RUNNING, "split": "train"},
        "warnings": ["nothing validated: no picture was held out"],
        "data": dataclasses.replace(SUMMARY, validation=dataclasses.replace(SUMMARY.validation, lines=0)).as_dict(),
    }
    found = structure(render(report(told)))
    assert "Not tested on pictures that it has not seen." in found.words
    assert "7 pictures of the training itself, as none were held out" in found.words
    assert "best:" not in found.words
    assert "Nothing was validated: the weights of the end are shipped" in found.words


def test_pictures_without_labels_text_or_a_file():
    bare = sample(labels=[], detected_text="")
    shown = Shown("best", bare, None, "no such file")
    found = structure(render(ReportData(figures(), [shown], [Look(shown, glances())])))
    assert "a.png could not be read again: no such file" in found.words
    assert "img" not in found.tags
    assert "image" not in found.tags
    assert "Labels, with" not in found.words
    assert "Written in it" not in found.words


def test_a_decoder_that_does_not_tell_where_it_looks_is_said_to():
    data = dataclasses.replace(report(), looks=[], no_looks="This is not shown: GPT2 does not tell where it looks.")
    assert "GPT2 does not tell where it looks." in structure(render(data)).words


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        (QUANTIZATION, "shipped with 8-bit weights, which cost 0.0003 nats a token"),
        (
            {**QUANTIZATION, "decoder": "none", "nats_per_token": {"float32": 3.0, "quantized": 3.5, "lines": 500}},
            "shipped in float32: 8-bit weights would cost 0.5000 nats a token",
        ),
        (
            {
                "decoder": "none",
                "nats_per_token": {},
                "parity": QUANTIZATION["parity"],
                "bytes": {"encoder": 1, "decoder_float32": 2},
            },
            "shipped in float32, as quantize=false asked",
        ),
    ],
)
def test_what_is_shipped_and_why(quantization: dict[str, Any], expected: str):
    assert expected in structure(render(report(figures(quantization=quantization)))).words


@pytest.mark.parametrize(
    ("changes", "expected", "grave"),
    [
        ({"warnings": []}, "No warning", "good"),
        ({"warnings": ["copied: 60 %"]}, "one thing to know", "careful"),
        ({"warnings": ["copied: 60 %", "cut: 3 lines"]}, "2 things to know", "careful"),
        ({"warnings": ["copied: 60 %", "collapsed: only 3 %"]}, "Do not use it as it is: collapsed.", "bad"),
        ({"free_running": None, "warnings": ["not evaluated: …"]}, "Not measured", "careful"),
        (
            {"free_running": {**FREE_RUNNING, "split": "train"}, "warnings": ["nothing validated: …"]},
            "Not tes",
            "careful",
        ),
    ],
)
def test_the_verdict_is_as_grave_as_the_warnings(changes: dict[str, Any], expected: str, grave: str):
    sentence, found = verdict(figures(**changes))
    assert expected in sentence
    assert found == grave
    html = render(ReportData(figures(**changes), [], []))
    assert f'class="verdict {grave}"' in html
    for warning in changes["warnings"]:
        assert warning in structure(html).words


# --- one file, safe and small ----------------------------------------------------------------------------------------


def assert_closed(html: str) -> None:
    """Nothing is run, and nothing is fetched from anywhere."""
    found = structure(html)
    forbidden = {"script", "iframe", "object", "embed", "link", "form", "base", "foreignobject", "animate"}
    assert not forbidden & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    for value in found.values("src", "href", "xlink:href", "srcset", "action", "data"):
        assert value.startswith(("data:image/webp;base64,", "data:image/png;base64,", "#")), value[:80]
    assert "@import" not in found.style
    assert "url(" not in found.style + " ".join(found.values("style"))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert found.values("content").count(policy) == 1
    assert html.index("Content-Security-Policy") < html.index("<style")


def test_nothing_is_run_and_nothing_is_fetched():
    assert_closed(render(report()))


def everywhere(value: Any, hostile: str) -> Any:
    """The same value with every string in it replaced, names of known places left as they are."""
    kept = {"character", "validation", "int8", "none", "pretrained", "resnet50", "lstm"}
    if isinstance(value, str):
        return value if value in kept else hostile
    if isinstance(value, dict):
        return {name: everywhere(each, hostile) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [everywhere(each, hostile) for each in value]
    return value


def test_hostile_strings_are_text_wherever_they_stand():
    told = everywhere(figures(), HOSTILE)
    told["seconds"] = {HOSTILE: 1.0}
    told["machine"] = {HOSTILE: HOSTILE}
    shown = [
        Shown("worst", everywhere(sample(), HOSTILE), thumbnail()),
        Shown("best", everywhere(sample(), HOSTILE), None, HOSTILE),
    ]
    look = Look(shown[0], [dataclasses.replace(one, piece=HOSTILE, label=HOSTILE) for one in glances()])
    html = render(ReportData(told, shown, [look], HOSTILE))
    html.encode("utf-8")
    assert_closed(html)
    found = structure(html)
    assert found.words.count("<script>alert('1')</script>\"&") > 30
    assert "\x00" not in html


def test_a_page_of_the_largest_things_stays_small():
    heavy = Thumbnail(random.Random(0).randbytes(MAX_THUMBNAIL_BYTES), 360, 240)
    text = "寿" * 5000
    big = sample(
        references=[text] * 1000,
        generated=text,
        detected_text=text,
        labels=[{"Name": text, "Confidence": 1.0}] * 50,
        candidates=[{"text": text, "score": -1.0}] * 3,
    )
    shown = [Shown(group, big, heavy) for group in ("best", "middle", "worst") for _ in range(EACH)]
    grid = [[random.Random(n * m).random() / 200 for n in range(14)] for m in range(14)]
    looks = [Look(one, [dataclasses.replace(glances()[0], grid=grid)] * 1000) for one in shown[:4]]
    history = [{**HISTORY[1], "epoch": n} for n in range(1, 10_001)]
    summary = dataclasses.replace(
        SUMMARY,
        dropped_lines=tuple(dataclasses.replace(SUMMARY.dropped_lines[0]) for _ in range(20)),
        broken_pictures=SUMMARY.broken_pictures * 50_000,
        shared_examples=(text,) * 1000,
    )
    told = figures(history=history, best_epoch=5000, data=summary.as_dict())
    html = render(ReportData(told, shown, looks))
    assert_closed(html)
    assert len(html.encode()) < MOST_BYTES
    assert "5000 (shipped)" in structure(html).words


def test_an_element_escapes_what_is_no_markup_and_closes_what_it_opens():
    inner = element("b", "1 < 2")
    assert element("p", "a & b", inner, class_="x", title='"<') == (
        '<p class="x" title="&quot;&lt;">a &amp; b<b>1 &lt; 2</b></p>'
    )
    assert element("img", src="data:", alt=None) == '<img src="data:">'
    assert joined([inner, "<i>"]) == "<b>1 &lt; 2</b>&lt;i&gt;"
    assert isinstance(joined([]), Html)
    assert "<" not in element("i", str(inner)[3:] + "<")[3:-4]


# --- for eyes and ears -----------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read(colours: dict[str, str]):
    for name, ground in itertools.product(TEXT, ("ground", "card")):
        assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert LIGHT.keys() == DARK.keys()


def test_it_fits_a_phone_and_a_dark_room():
    html = render(report())
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "prefers-color-scheme: dark" in html
    assert "min(100%, 16rem)" in html  # no column is wider than the screen
    found = structure(html)
    assert found.tags.count("table") == found.values("class").count("scroll")
    assert found.tags.count("th") == len(found.values("scope"))
    assert found.tags.count("caption") == found.tags.count("table")
    assert found.attributes.count(("lang", "ja")) > 10
    english = figures(hyperparameters={**figures()["hyperparameters"], "metric_tokens": "word"})
    assert ("lang", "ja") not in structure(render(report(english))).attributes


def test_a_veil_is_lightest_where_the_decoder_looked_most():
    veil = np.asarray(Image.open(io.BytesIO(heat([[0.0, 0.1], [0.4, 0.2]]))))
    assert veil.shape == (2, 2, 2)
    assert not veil[..., 0].any()
    dark = veil[..., 1]
    assert dark[1, 0] == 0
    assert dark[1, 0] < dark[1, 1] < dark[0, 1] < dark[0, 0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "–"), (28453, "28,453"), (0.44924, "0.449"), (0.00035, "0.00035"), (30.84, "30.8"), (0.0, "0.000")],
)
def test_numbers_are_written_with_the_digits_that_matter(value: float | None, expected: str):
    assert number(value) == expected


def test_shares_that_are_nearly_nothing_or_all_keep_a_decimal():
    assert [share(value).replace("\N{NO-BREAK SPACE}", " ") for value in (0.0, 0.004, 0.5, 0.9979, 1.0)] == [
        "0 %", "0.4 %", "50 %", "99.8 %", "100 %"
    ]  # fmt: skip


def test_figures_survive_json():
    told = json.loads(json.dumps(figures()))
    assert render(dataclasses.replace(report(), figures=told)) == render(report())


def test_long_tables_of_epochs_say_what_they_leave_out():
    history = [{**HISTORY[1], "epoch": n} for n in range(1, 501)]
    words = structure(render(report(figures(history=history, best_epoch=80)))).words
    assert re.search(r"61 of 500 epochs; all are in metrics\.json", words)
    assert "80 (shipped)" in words
