import dataclasses

from ogiri.captioning.training.model_card import model_card, plain
from ogiri.captioning.training.report_page.figure import main_figures
from tests.captioning.training.reported import QUANTIZATION, SUMMARY, figures, stopped


def test_the_figures_are_those_of_the_page():
    card = model_card(figures())
    found = main_figures(figures())
    assert len(found) == 9
    for figure in found:
        assert f"| {plain(figure.name)} | {plain(figure.value)} | {plain(figure.meaning)} |" in card


def test_it_says_what_it_is_for_what_it_was_made_of_and_what_to_be_careful_about():
    card = model_card(figures())
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == [
        "# job-7", "## Warnings", "## Figures", "## Data", "## Weights", "## Limits", "## How to train it again",
        "## Licence",
    ]  # fmt: skip
    for expected in (
        "one thing to know",
        "- **broken pictures**: 1 of 70 could not be read",
        "Measured on 7 pictures that were held out",
        "| read | 70 | 130 |",
        "| held out | 7 | 12 |",
        "with seed 0",
        "Left out: 3 lines and 1 broken picture. Cut: no lines.",
        "8-bit weights, which cost 0.0003 nats a token",
        "the same favourite for 99",
        "docker run IMAGE train",
        f"`{'ab' * 32}`",
        "state their licence here",
    ):
        assert expected in card, expected
    assert "Data fingerprint" in card
    assert "commit" not in card


def test_image_and_commit_are_named_where_they_are_known():
    again = {**figures()["reproduce"], "image": "registry/ogiri:1", "commit": "c0ffee"}
    assert "image registry/ogiri:1, commit c0ffee." in model_card(figures(reproduce=again))


def test_a_job_that_was_stopped_or_not_quantised_has_a_card():
    assert "not evaluated" in model_card(stopped())
    assert "Nothing was measured after training" in model_card(stopped())
    refused = {**QUANTIZATION, "decoder": "none", "nats_per_token": {}}
    assert "as quantize=false asked. Encoder 8.9 MB in float32, decoder 18.3 MB." in model_card(
        figures(quantization=refused)
    )


def test_hostile_strings_are_text():
    card = model_card(figures(job="# a\n| <script>`x`</script> ![i](http://x)", warnings=["cut: |\n# no heading"]))
    assert card.startswith("# \\# a \\| &lt;script&gt;\\`x\\`&lt;/script&gt; \\!\\[i\\](http://x)\n")
    assert "- **cut**: \\| \\# no heading" in card
    again = {**figures()["reproduce"], "command": "echo ``` # out\ndocker run"}
    assert model_card(figures(reproduce=again)).count("```") == 2


def test_no_warning_is_said_too():
    assert "## Warnings\n\nNone." in model_card(figures(warnings=[]))
    clean = dataclasses.replace(SUMMARY, dropped_lines=())
    assert "Left out: no lines and 1 broken picture." in model_card(figures(data=clean.as_dict()))
