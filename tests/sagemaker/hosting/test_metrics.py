from __future__ import annotations

import pytest

from ogiri.sagemaker.hosting.metrics import Metrics, percentile
from tests.contract.echo import Echo


class Counts(Echo):
    def __init__(self) -> None:
        super().__init__()
        self.counters = {"steps": 10.0, "pictures": 5.0, "tokens": 36.0}

    def statistics(self) -> dict[str, float]:
        return self.counters


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7], 50, 7),
        ([7], 99, 7),
        ([1, 2], 50, 1),
        ([1, 2, 3], 50, 2),
        (list(range(1, 101)), 95, 95),
        ([1, 2, 3], 99, 3),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[int], share: int, expected: int):
    assert percentile(values, share) == expected


def test_nothing_is_reported_where_nothing_happened():
    metrics = Metrics()
    metrics.watch("a", Echo())
    assert metrics.report(60) == []


def test_each_model_has_a_report_of_its_own():
    metrics = Metrics()
    metrics.count("b", 200, failed=False, milliseconds=5)
    metrics.count("a", 503, failed=True, milliseconds=1)
    found = {document["Model"]: (document["Requests"], document["Errors"]) for document in metrics.report(60)}
    assert found == {"a": (1, 1), "b": (1, 0)}
    assert metrics.report(60) == []


def test_counters_of_a_predictor_are_reported_as_what_they_grew_by():
    metrics, predictor = Metrics(), Counts()
    metrics.watch("a", predictor)
    (first,) = metrics.report(2)
    assert (first["Steps"], first["Tokens"], first["TokensPerSecond"], first["BatchSize"]) == (10, 36, 18, 3.6)
    assert metrics.report(2) == []
    predictor.counters = {"steps": 12.0, "pictures": 6.0, "tokens": 38.0}
    metrics.watch("a", predictor)
    (second,) = metrics.report(4)
    assert (second["Steps"], second["Pictures"], second["TokensPerSecond"], second["BatchSize"]) == (2, 1, 0.5, 1)


def test_a_predictor_that_is_gone_is_forgotten():
    metrics = Metrics()
    metrics.watch("a", Counts())
    assert metrics.report(60) == []
