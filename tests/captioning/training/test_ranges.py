"""The ranges that are searched: what a job takes, and what docs/tuning.md says."""

import dataclasses
from pathlib import Path

import pytest

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.ranges import DEFAULT_OBJECTIVE, FIRST, OBJECTIVES, RANGES, Choice, Range
from ogiri.parameter import from_strings
from ogiri.sagemaker.training.metrics import METRICS

DOCUMENT = Path(__file__).parents[3] / "docs" / "tuning.md"
DECODERS = CaptionHyperparameters.__dataclass_fields__["decoder"].metadata["bounds"].choices
AUTOMATIC = {"decoder_width"}  # its default, 0, is no width


def values(allowed: Range | Choice) -> tuple[float, ...]:
    return allowed.values if isinstance(allowed, Choice) else (allowed.minimum, allowed.maximum)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", RANGES)
def test_a_job_takes_both_ends_and_every_choice(name: str, decoder: str):
    for value in values(RANGES[name]):
        hp = from_strings(CaptionHyperparameters, {name: f"{value:g}", "decoder": decoder})
        assert getattr(hp, name) == value


@pytest.mark.parametrize("name", RANGES)
def test_whole_numbers_are_searched_as_such(name: str):
    allowed = RANGES[name]
    kind = CaptionHyperparameters.__annotations__[name]
    whole = allowed.integer if isinstance(allowed, Range) else all(float(v).is_integer() for v in allowed.values)
    assert whole == (kind == "int")


@pytest.mark.parametrize("name", RANGES)
def test_the_default_is_among_what_is_tried(name: str):
    default = getattr(CaptionHyperparameters(), name)
    allowed = RANGES[name]
    if name in AUTOMATIC:
        assert default == 0
    elif isinstance(allowed, Choice):
        assert default in allowed.values
    else:
        assert allowed.minimum <= default <= allowed.maximum


@pytest.mark.parametrize("name", RANGES)
def test_a_range_can_be_searched(name: str):
    allowed = RANGES[name]
    if isinstance(allowed, Range):
        assert allowed.minimum < allowed.maximum
        assert allowed.minimum > 0 or not allowed.logarithmic
    else:
        assert len(set(allowed.values)) == len(allowed.values) > 1


def test_a_short_search_looks_at_what_comes_first():
    assert tuple(RANGES)[: len(FIRST)] == FIRST


def test_objectives_are_metrics_that_a_job_can_select_by():
    choices = {field.name: field.metadata["bounds"].choices for field in dataclasses.fields(CaptionHyperparameters)}
    assert DEFAULT_OBJECTIVE in OBJECTIVES
    for name, objective in OBJECTIVES.items():
        assert name in METRICS
        assert objective.select_by in choices["select_by"]
        assert objective.maximize == (objective.select_by != "loss")


def test_the_document_lists_them():
    rows = [f"| `{name}` | {allowed.describe()} | {allowed.why} |" for name, allowed in RANGES.items()]
    assert "\n".join(rows) in DOCUMENT.read_text(encoding="utf-8")


def test_ranges_in_words():
    assert RANGES["learning_rate"].describe() == "0.0003 to 0.004, logarithmic"
    assert RANGES["dropout"].describe() == "0.1 to 0.6"
    assert RANGES["average_decay"].describe() == "0, 0.99, 0.999 or 0.9995"
