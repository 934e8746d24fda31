"""Whatever is sent is answered or refused: no other error comes out of what reads a request."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogiri.artifact import open_artifact
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving.predictor import CaptionPredictor, load
from ogiri.task import Body
from tests.captioning.serving import hostile, tiny

few = settings(
    max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def predictor(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaptionPredictor]:
    folder = tmp_path_factory.mktemp("model")
    predictor = load(open_artifact(tiny.write_artifact(folder, tokenizer.model, tokenizer.vocabulary)))
    yield predictor
    predictor.close()


@pytest.fixture(autouse=True)
def _pillow_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("data", hostile.PICTURES)
def test_the_pictures_to_begin_with_are_whole(data: bytes):
    assert hostile.check_picture(data)


@few
@given(hostile.pictures)
def test_damaged_pictures(data: bytes):
    hostile.check_picture(data)


@few
@given(data=hostile.json_bodies())
def test_json(predictor: CaptionPredictor, data: bytes):
    hostile.check_body(predictor, Body("application/json", data))


@few
@given(header=hostile.attributes)
def test_custom_attributes(predictor: CaptionPredictor, header: str):
    hostile.check_attributes(predictor, header)


@few
@given(data=hostile.forms() | st.binary(max_size=60))
def test_forms(predictor: CaptionPredictor, data: bytes):
    hostile.check_form(predictor, data)


@few
@given(data=hostile.line_bodies)
def test_json_lines(predictor: CaptionPredictor, data: bytes):
    hostile.check_lines(predictor, data)
