from pathlib import Path

import pytest

from local.options import EXAMPLE_HYPERPARAMETERS, OptionError
from local.tune_options import parse
from ogiri.captioning.training.ranges import FIRST


def test_the_examples_and_a_short_search_by_default():
    given = parse([])
    assert (given.metric, given.trials, given.parameters) == ("validation_cider", 8, FIRST)
    assert given.demo.csv is None
    assert given.demo.hyperparameters == EXAMPLE_HYPERPARAMETERS
    assert given.demo.out == Path("build/tune")


def test_the_demos_options_pass(tmp_path: Path):
    (tmp_path / "rows.csv").write_text("image_url,expected_result\n")
    data = ["--csv", str(tmp_path / "rows.csv"), "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    given = parse([*data, "--trials", "3", "--epochs", "7", "--hyperparameter", "seed=1", "--parameter", "dropout"])
    assert (given.demo.csv, given.demo.images) == (tmp_path / "rows.csv", tmp_path)
    assert given.demo.out == tmp_path / "out"
    assert (given.demo.hyperparameters["epochs"], given.demo.hyperparameters["seed"]) == ("7", "1")
    assert (given.trials, given.parameters) == (3, ("dropout",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "cider"], "METRIC is cider: it must be one of validation_cider"),
        (["--trials", "0"], "TRIALS is 0: it must be a whole number, at least 1"),
        (["--trials", "many"], "TRIALS is many: "),
        (["--parameter", "seed"], "PARAMETERS has seed: there are ranges for learning_rate"),
        (["--hyperparameter", "dropout=0.1"], "dropout is set and searched at once"),
        (["--images", "."], "IMAGES is ., but there is no CSV"),
        (["--hyperparameter", "epochs=0"], "epochs is 0: it must be 1 to 10000"),
    ],
)
def test_what_cannot_be_is_named(arguments: list[str], message: str):
    with pytest.raises(OptionError, match=message):
        parse(arguments)


def test_a_hyperparameter_that_is_not_searched_may_be_set():
    given = parse(["--hyperparameter", "dropout=0.1", "--parameter", "learning_rate"])
    assert given.demo.hyperparameters["dropout"] == "0.1"
