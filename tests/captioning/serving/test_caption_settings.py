from __future__ import annotations

from typing import Any

import pytest

from ogiri.captioning.model.controls import ControlEdges
from ogiri.captioning.serving.parameters import Parameters
from ogiri.captioning.serving.settings import read_settings
from tests.captioning.serving import tiny

PATHS = [
    ("preprocessing", "size"),
    ("preprocessing", "max_labels"),
    ("preprocessing", "confidence_edges"),
    ("tokenizer", "file"),
    ("decoding", "encoder_graph"),
    ("decoding", "decoder_graph"),
    ("decoding", "state"),
    ("decoding", "max_tokens"),
    ("decoding", "controls"),
]


def test_reads_what_the_engine_needs():
    settings = read_settings(tiny.manifest(300, defaults={"num_beams": 3}))
    assert settings.state == tiny.STATE
    assert settings.limits.confidence_edges == (50.0, 90.0)
    assert (settings.size, settings.max_tokens) == (8, 24)
    assert settings.controls == ControlEdges(score=(1.0, 2.0, 3.0, 4.0), length=(6.0, 12.0))
    assert settings.defaults == Parameters(num_beams=3)
    assert read_settings({**tiny.manifest(300), "metrics": {}}).defaults == Parameters()


@pytest.mark.parametrize(("section", "name"), PATHS)
@pytest.mark.parametrize("value", [None, True, 0.5])
def test_a_missing_or_wrong_value_is_named(section: str, name: str, value: Any):
    manifest = tiny.manifest(300)
    manifest[section][name] = value
    with pytest.raises(ValueError, match=f"{section}.{name}"):
        read_settings(manifest)
    del manifest[section]
    with pytest.raises(ValueError, match=section):
        read_settings(manifest)


@pytest.mark.parametrize(
    "entry", [{}, {"name": "x"}, {"name": "x", "shape": 3}, {"name": "x", "shape": [], "dtype": "nonsense"}, 7]
)
def test_a_wrong_state_is_named(entry: Any):
    with pytest.raises(ValueError, match=r"decoding\.state"):
        read_settings(tiny.manifest(300, state=[entry]))


@pytest.mark.parametrize(
    "defaults", [{"temperature": 9}, {"temprature": 1}, {"num_beams": 2, "num_candidates": 3}, [1]]
)
def test_wrong_defaults_are_named(defaults: Any):
    with pytest.raises(ValueError, match=r"decoding\.defaults"):
        read_settings(tiny.manifest(300, defaults=defaults))


def test_an_artifact_may_have_a_list_of_banned_words():
    assert read_settings(tiny.manifest(300)).banned_file is None
    settings = read_settings(tiny.manifest(300, banned_words="list.txt"))
    assert settings.banned_file == "list.txt"
    assert settings.files == ["encoder.onnx", "decoder.onnx", "tokenizer.model", "list.txt"]
    for value in (None, ["犬"], 7):
        with pytest.raises(ValueError, match=r"decoding\.banned_words"):
            read_settings(tiny.manifest(300, banned_words=value))


def test_an_artifact_may_take_lower_cased_text():
    manifest = tiny.manifest(300)
    assert not read_settings(manifest).lower_case
    manifest["tokenizer"]["lower_case"] = True
    assert read_settings(manifest).lower_case
    for value in (None, 1, "true"):
        manifest["tokenizer"]["lower_case"] = value
        with pytest.raises(ValueError, match=r"tokenizer\.lower_case .*: it must be true or false"):
            read_settings(manifest)


def test_lengths_must_be_positive():
    with pytest.raises(ValueError, match=r"decoding\.max_tokens 0"):
        read_settings(tiny.manifest(300, max_tokens=0))


@pytest.mark.parametrize("controls", [{"humour": [1.0]}, {"score": 1.0}, {"length": ["a", "b"]}])
def test_wrong_controls_are_named(controls: Any):
    with pytest.raises(ValueError, match=r"decoding\.controls"):
        read_settings(tiny.manifest(300, controls=controls))
