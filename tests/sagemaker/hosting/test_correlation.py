from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from ogiri.sagemaker.hosting.correlation import custom_attributes, request_id
from ogiri.task import RequestError


def test_the_id_of_the_platform_comes_before_the_callers():
    both = Headers({"X-Amzn-SageMaker-Inference-Id": "platform", "X-Request-Id": "caller"})
    assert request_id(both) == "platform"
    assert request_id(Headers({"X-Request-Id": "caller"})) == "caller"


@pytest.mark.parametrize("given", ["", 'a"b', "a\\b", "a b", "a\tb", "é", "a" * 129])
def test_an_unusable_id_is_replaced(given: str):
    headers = Headers({"X-Request-Id": given})
    assert len({request_id(headers), request_id(headers), given}) == 3


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", {}),
        ("trace-1", {}),
        ("top_k=5", {"top_k": "5"}),
        (" top_k = 5 , trace ,a=b=c", {"top_k": "5", "a": "b=c"}),
        ("banned_words=%E7%8A%AC|%E7%8C%AB%2C", {"banned_words": "犬|猫,"}),
        ("a=犬".encode().decode("latin-1"), {"a": "犬"}),
        ("a=1,a=2", {"a": "2"}),
        ("empty=", {"empty": ""}),
        ("a=1+1%20", {"a": "1+1 "}),
        ("broken=%ff,a=1", {"a": "1"}),
    ],
)
def test_custom_attributes_are_decoded(header: str, expected: dict[str, str]):
    assert custom_attributes(header, known=("top_k",)) == expected


def test_a_known_attribute_must_be_readable():
    with pytest.raises(RequestError, match="top_k") as refused:
        custom_attributes("a=1, top_k=%ff", known=("top_k",))
    assert refused.value.status == 400
