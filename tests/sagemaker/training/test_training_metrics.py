import math
import re

import numpy as np
import pytest

from ogiri.sagemaker.training import metrics


def test_one_event_is_one_line_of_pairs(capsys):
    metrics.report({"train_loss": 1.25, "validation_loss": 1.5})
    metrics.report({"epoch": 3})
    assert capsys.readouterr().out == "train_loss=1.25; validation_loss=1.5;\nepoch=3;\n"


@pytest.mark.parametrize("value", [0.1, 1e-7, 123456.78, 1e6, 1e12, -3.25, 0.0, 2, np.float32(0.3), 4.0000001e-5])
def test_the_expression_of_a_metric_definition_reads_the_value_back(capsys, value):
    metrics.report({"validation_loss": value})
    found = re.search(r"validation_loss=([-0-9.]+);", capsys.readouterr().out)
    assert math.isclose(float(found[1]), float(value), rel_tol=1e-7)


def test_values_that_are_not_finite_are_left_out_and_logged(capsys, caplog):
    metrics.report({"train_loss": math.nan, "validation_loss": 1.5, "validation_bleu": math.inf})
    assert capsys.readouterr().out == "validation_loss=1.5;\n"
    assert "train_loss is nan" in caplog.text
    assert "validation_bleu is inf" in caplog.text


def test_nothing_to_report_prints_nothing(capsys):
    metrics.report({})
    metrics.report({"train_loss": math.nan})
    assert capsys.readouterr().out == ""


def test_what_was_printed_comes_back(capsys):
    assert metrics.report({"epoch": 2, "train_loss": math.nan, "validation_loss": 1.5}) == {
        "epoch": 2.0,
        "validation_loss": 1.5,
    }


def test_a_definition_finds_its_own_metric_and_no_other(capsys):
    metrics.report({"loss": 1, "train_loss": 2, "validation_loss": 3.5, "validation_loss_2": 4})
    line = capsys.readouterr().out
    definitions = metrics.metric_definitions(("loss", "train_loss", "validation_loss"))
    assert [re.findall(definition["Regex"], line) for definition in definitions] == [["1"], ["2"], ["3.5"]]


def test_every_metric_of_the_tasks_is_defined_once():
    names = [definition["Name"] for definition in metrics.metric_definitions()]
    assert sorted(names) == sorted(set(names)) == sorted(metrics.METRICS)
