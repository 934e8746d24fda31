from __future__ import annotations

from typing import Any

import pytest

from ogiri.captioning.serving.parameters import Parameters, parameters_from_attributes, parameters_from_json
from ogiri.parameter import ParameterError

DEFAULTS = Parameters()


def test_the_defaults_are_those_of_the_design():
    p = parameters_from_json({}, DEFAULTS)
    assert (p.num_candidates, p.temperature, p.top_p, p.top_k, p.repetition_penalty) == (1, 0.9, 0.92, 50, 1.1)
    assert (p.num_beams, p.min_length, p.banned_words, p.seed, p.stream) == (1, 1, (), None, False)
    assert (p.ranking, p.best_of, p.pool, p.score, p.length) == ("likelihood", None, 1, None, None)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("num_candidates", [0, 17, 1.5, "3", True, None]),
        ("best_of", [0, 33, 1.5, "8", True]),
        ("ranking", ["best", "", 1, None, ["relevance"]]),
        ("temperature", [-0.1, 2.1, "x", None, float("nan"), float("inf"), 10**400]),
        ("top_k", [-1, 0.5]),
        ("top_p", [0, 1.01, -1]),
        ("repetition_penalty", [0.9, 2.1]),
        ("num_beams", [0, 9, "5"]),
        ("min_length", [0, -1, 1001, "5"]),
        ("max_length", [0, 1001]),
        ("banned_words", ["word", [1], {"a": 1}, ["x"] * 1001, ["x" * 101]]),
        ("score", [-1, 5, 0.5, "4", True]),
        ("length", ["tiny", "", 1, ["short"], "Short"]),
        ("seed", [-1, 2**63, 0.5, "abc", False]),
        ("stream", [1, "yes", None]),
        ("num_canditates", [1]),
    ],
)
def test_a_value_that_cannot_be_taken_is_named(name: str, values: list[Any]):
    for value in values:
        with pytest.raises(ParameterError, match=name):
            parameters_from_json({name: value}, DEFAULTS)


@pytest.mark.parametrize(
    "values",
    [
        {"num_candidates": 16, "temperature": 0, "top_k": 0, "top_p": 1, "repetition_penalty": 2},
        {"num_candidates": 16, "best_of": 32, "ranking": "relevance", "score": 0, "length": "short"},
        {"num_candidates": 1, "best_of": 1, "ranking": "length_debiased", "score": 4, "length": "long"},
        {"num_beams": 8, "num_candidates": 8, "seed": 2**63 - 1, "banned_words": []},
        {"min_length": 1000, "max_length": 1000, "seed": None, "stream": True, "temperature": 2.0, "top_p": 1e-9},
    ],
)
def test_the_bounds_themselves_are_taken(values: dict[str, Any]):
    parameters = parameters_from_json(values, DEFAULTS)
    for name, value in values.items():
        assert getattr(parameters, name) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("name", ["best_of", "temperature", "top_k", "top_p"])
def test_beams_take_no_sampling_parameter(name: str):
    with pytest.raises(ParameterError, match=name):
        parameters_from_json({"num_beams": 2, name: 1}, DEFAULTS)
    assert parameters_from_json({"num_beams": 1, name: 1}, DEFAULTS)
    assert parameters_from_json({"num_beams": 2, "ranking": "relevance", "best_of": None}, DEFAULTS)


def test_parameters_that_exclude_each_other_are_named():
    with pytest.raises(ParameterError, match=r"num_beams is 2.*num_candidates"):
        parameters_from_json({"num_beams": 2, "num_candidates": 3}, DEFAULTS)
    with pytest.raises(ParameterError, match=r"best_of is 2: it must be at least num_candidates, which is 3"):
        parameters_from_json({"best_of": 2, "num_candidates": 3}, DEFAULTS)
    with pytest.raises(ParameterError, match=r"min_length is 9.*max_length"):
        parameters_from_json({"min_length": 9, "max_length": 8}, DEFAULTS)


def test_as_many_lines_are_written_as_come_back_unless_more_are_asked_for():
    assert parameters_from_json({"num_candidates": 5}, DEFAULTS).pool == 5
    assert parameters_from_json({"num_candidates": 5, "best_of": 9}, DEFAULTS).pool == 9


def test_defaults_may_come_from_elsewhere():
    defaults = Parameters(num_beams=3, max_length=40)
    assert parameters_from_json({"num_candidates": 2}, defaults) == Parameters(
        num_beams=3, max_length=40, num_candidates=2
    )
    with pytest.raises(ParameterError, match="temperature"):
        parameters_from_json({"temperature": 0.5}, defaults)


def test_attributes_are_strings_and_unknown_names_belong_to_others():
    found = parameters_from_attributes(
        {"trace-id": "x=1", "num_candidates": "3", "banned_words": "犬|猫", "temperature": "0.5", "stream": "true"},
        DEFAULTS,
    )
    assert found == Parameters(num_candidates=3, banned_words=("犬", "猫"), temperature=0.5, stream=True)
    found = parameters_from_attributes(
        {"score": "4", "length": "short", "ranking": "relevance", "best_of": "8"}, DEFAULTS
    )
    assert found == Parameters(score=4, length="short", ranking="relevance", best_of=8)
    assert parameters_from_attributes({"banned_words": "5"}, DEFAULTS).banned_words == ("5",)
    for name in ("score", "length", "ranking", "best_of"):
        with pytest.raises(ParameterError, match=name):
            parameters_from_attributes({name: "99"}, DEFAULTS)
    with pytest.raises(ParameterError, match="num_candidates"):
        parameters_from_attributes({"num_candidates": "many"}, DEFAULTS)
    with pytest.raises(ParameterError, match="top_p"):
        parameters_from_attributes({"num_beams": "2", "top_p": "0.5"}, DEFAULTS)
