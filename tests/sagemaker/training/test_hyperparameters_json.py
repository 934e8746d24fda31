import json
from dataclasses import dataclass

import pytest

from ogiri.parameter import ParameterError, parameter
from ogiri.sagemaker.training import hyperparameters
from ogiri.task import UserError


@dataclass(frozen=True)
class Hyperparameters:
    epochs: int = parameter(10, "passes", minimum=1)
    encoder: str = parameter("resnet50", "a model")


@dataclass(frozen=True)
class WithTask(Hyperparameters):
    task: str = parameter("caption", "which", choices=("caption",))


def test_no_file_is_no_hyperparameters(tmp_path):
    assert hyperparameters.read(tmp_path / "hyperparameters.json") == {}


def test_values_come_as_they_are(tmp_path):
    path = tmp_path / "hyperparameters.json"
    path.write_text(json.dumps({"epochs": '"5"', "encoder": "resnet18", "n": 5}), encoding="utf-8")
    assert hyperparameters.read(path) == {"epochs": '"5"', "encoder": "resnet18", "n": 5}


@pytest.mark.parametrize("content", ["", "epochs: 5", "[]", "5", "null", "[" * 100_000])
def test_a_file_that_is_no_object(tmp_path, content):
    path = tmp_path / "hyperparameters.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"hyperparameters\.json (is not JSON|must hold a JSON object)"):
        hyperparameters.read(path)


@pytest.mark.parametrize("values", [{}, {"task": "caption"}, {"task": '"caption"'}, {"task": '"\\"caption\\""'}])
def test_task(values):
    assert hyperparameters.task_name(values) == "caption"


@pytest.mark.parametrize("name", ["captoin", "", "5", "null", "{}", "Caption", 5, None, ["caption"]])
def test_unknown_task(name):
    with pytest.raises(UserError, match=r"^task is .*: it must be one of .*caption"):
        hyperparameters.task_name({"task": name})


def test_checks_against_the_trainers_own_dataclass():
    found = hyperparameters.check(Hyperparameters, {"epochs": "5", "encoder": '"resnet18"'})
    assert found == Hyperparameters(5, "resnet18")


def test_task_is_taken_by_trainers_that_declare_it_and_passes_with_the_others():
    assert hyperparameters.check(Hyperparameters, {"task": "caption"}) == Hyperparameters()
    assert hyperparameters.check(WithTask, {"task": '"caption"'}).task == "caption"


@pytest.mark.parametrize(
    "name",
    ["sagemaker_program", "sagemaker_submit_directory", "_tuning_objective_metric", "_tuning"],
)
def test_what_sdks_and_tuning_jobs_add_passes(name):
    assert hyperparameters.check(Hyperparameters, {name: '"x"', "epochs": "3"}).epochs == 3


@pytest.mark.parametrize("name", ["epoch", "sagemakerprogram", "tuning_x", "tasks", ""])
def test_other_unknown_names_fail(name):
    with pytest.raises(ParameterError, match="is not a known parameter"):
        hyperparameters.check(Hyperparameters, {name: "1"})


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(
        ParameterError, match=r"epochs is 0: .*; encode is not a known parameter: did you mean encoder\?"
    ):
        hyperparameters.check(Hyperparameters, {"epochs": "0", "encode": "x"})
