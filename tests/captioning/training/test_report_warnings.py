from typing import Any

import pytest

from ogiri.captioning.training.report_page.verdict import kind_of
from ogiri.captioning.training.report_warnings import job_warnings
from tests.captioning.training.reported import HISTORY, QUANTIZATION, SUMMARY, figures


def kinds(evaluation: list[str] | None = (), **changes: Any) -> list[str]:
    told = figures(broken_pictures=0, **changes)
    return [kind_of(warning)[0] for warning in job_warnings(told, evaluation)]


def with_data(**changes: Any) -> dict[str, Any]:
    return {**SUMMARY.as_dict(), **changes}


def losses(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"epoch": n, "train_loss": t, "validation_loss": v} for n, (t, v) in enumerate(pairs, 1)]


def test_a_job_that_went_well_has_none():
    assert kinds() == []


def test_those_of_the_evaluation_come_first():
    assert kinds(["collapsed: only 3 %"], cut_lines=4) == ["collapsed", "cut"]


def test_a_job_that_was_not_evaluated_says_so():
    assert kinds(None) == ["not evaluated"]


def test_nothing_held_out_and_nothing_finished_are_told():
    assert kinds(validation_pictures=0, best_epoch=0, history=[]) == ["nothing validated"]
    assert kinds(best_epoch=0, history=[]) == ["nothing validated"]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (losses((4, 4), (3, 3), (2, 3.2)), ["overfitting"]),
        (losses((4, 4), (3, 3), (2, 3.05)), []),  # hardly risen
        (losses((4, 4), (3, 3), (3.1, 3.2)), []),  # the training did not get better either: it diverges
        (losses((4, 4), (3, 3)), []),
        ([{"epoch": 1, "train_loss": 4.0}], []),
    ],
)
def test_overfitting_is_a_validation_that_got_worse_while_the_training_got_better(
    history: list[dict[str, float]], expected: list[str]
):
    assert kinds(history=history) == expected


def test_overfitting_names_epochs_losses_and_what_is_shipped():
    (warning,) = job_warnings(figures(history=losses((4, 4), (3, 3), (2, 3.5)), broken_pictures=0), [])
    assert "from epoch 2 to 3 the training loss fell (3.000 → 2.000)" in warning
    assert "rose (3.000 → 3.500). The weights of epoch 2 are shipped" in warning


def test_weights_that_could_not_be_rounded_are_told():
    refused = {**QUANTIZATION, "decoder": "none"}
    assert kinds(quantization=refused) == ["not quantised"]
    assert kinds(quantization={**refused, "nats_per_token": {}}) == []  # nobody asked


def test_leakage_is_a_picture_on_both_sides_or_many_shared_lines():
    assert kinds(pictures_on_both_sides=1) == ["leakage"]
    assert kinds(data=with_data(shared_lines=3)) == ["leakage"]
    assert kinds(data=with_data(shared_lines=2)) == []


def test_broken_pictures_name_the_first():
    (warning,) = job_warnings(figures(history=HISTORY), [])
    assert (
        warning
        == "broken pictures: 1 of 70 could not be read and were left out with their lines, first bad.png: cut off"
    )


def test_lines_that_were_cut_name_the_way_out():
    (warning,) = job_warnings(figures(broken_pictures=0, cut_lines=4), [])
    assert warning.startswith("cut: 4 lines have more than max_length=64 tokens")
    assert warning.endswith("Raise max_length")
