"""The scan against a table that misbehaves, over real HTTP."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.training.responder import Responder, Trouble, prepare, responding
from ogiri.captioning.data import table
from ogiri.captioning.data.records import DataError, Records
from ogiri.captioning.data.scan import SEGMENTS, scan

RECORDS = 600
Serve = Callable[..., Responder]


def item(number: int) -> str:
    return json.dumps(
        {
            "ImageKey": {"S": f"{number:04}.jpg"},
            "ExpectedResult": {"S": f"{number:04} 枚目の写真"},
            "Labels": {"L": [{"M": {"Name": {"S": "Dog"}, "Confidence": {"N": "98.5"}}}]},
        },
        ensure_ascii=False,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About forty pages, of four segments that are not alike; the last is empty, as some are in small tables."""
    folder = tmp_path_factory.mktemp("pages")
    cuts = [0, 300, 310, RECORDS, RECORDS]
    parts = [map(item, range(start, end)) for start, end in pairwise(cuts)]
    prepare(folder, parts, page_bytes=2500)
    return folder


@contextmanager
def misbehaving(pages: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble, attempts: int) -> Iterator[Responder]:
    with responding(pages, trouble) as responder:
        for name, value in {
            "AWS_ENDPOINT_URL": responder.url,
            "AWS_DEFAULT_REGION": "ap-northeast-1",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_MAX_ATTEMPTS": str(attempts),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(table, "PAUSE_SECONDS", 0.01)
        yield responder


def check_whole(records: Records) -> None:
    assert records.pictures.keys == [f"{number:04}.jpg" for number in range(RECORDS)]
    assert records.lines == [f"{number:04} 枚目の写真" for number in range(RECORDS)]
    assert all(picture.labels[0].name == "Dog" for picture in records.pictures)


def test_a_table_that_behaves_is_read_whole_without_a_warning(pages, monkeypatch, caplog):
    with misbehaving(pages, monkeypatch, Trouble(), 1) as responder:
        check_whole(scan("Any", RECORDS))
    assert responder.counts["page"] > 8 * SEGMENTS
    assert set(responder.counts) == {"page"}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kind", ["error", "drop", "cut", "corrupt", "garbage"])
def test_every_record_comes_once_through_trouble_that_outlasts_the_attempts_of_boto(pages, monkeypatch, kind):
    trouble = Trouble({kind: 0.3}, seed=4, begins_after=SEGMENTS)
    with misbehaving(pages, monkeypatch, trouble, 1 if kind != "corrupt" else 3) as responder:
        check_whole(scan("Any", RECORDS))
    assert responder.counts[kind] > 5


def test_throttling_is_survived_and_told(pages, monkeypatch, caplog):
    with misbehaving(pages, monkeypatch, Trouble({"throttle": 0.3}, seed=1, begins_after=32), 1) as responder:
        check_whole(scan("Any", RECORDS))
    assert responder.counts["throttle"] > 0
    assert "DynamoDB table Any" in caplog.text
    assert "ProvisionedThroughputExceededException; the scan waits and asks again" in caplog.text
    assert caplog.text.count("asks again") == 1  # in half a minute


def test_many_kinds_of_trouble_at_once(pages, monkeypatch):
    shares = {"error": 0.1, "drop": 0.1, "cut": 0.1, "corrupt": 0.05, "garbage": 0.1, "slow": 0.1}
    with misbehaving(
        pages, monkeypatch, Trouble(shares, seed=3, slow_seconds=0.1, begins_after=SEGMENTS), 3
    ) as responder:
        check_whole(scan("Any", RECORDS))
    assert set(responder.counts) == {"page", *shares}


def test_an_answer_that_comes_too_late_is_asked_for_again(pages, monkeypatch):
    monkeypatch.setattr(table, "READ_SECONDS", 0.5)
    with misbehaving(
        pages, monkeypatch, Trouble({"slow": 0.05}, seed=2, slow_seconds=2, begins_after=SEGMENTS), 1
    ) as responder:
        check_whole(scan("Any", RECORDS))
    assert responder.counts["slow"] > 0


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("drop", r"cannot be reached .*gateway endpoint"),
        ("error", r"cannot be read: InternalServerError"),
        ("throttle", r"cannot be read: ProvisionedThroughputExceededException"),
    ],
)
def test_a_table_that_stays_lost_is_given_up_in_time_and_named(pages, monkeypatch, kind, said):
    start = time.monotonic()
    with (
        misbehaving(pages, monkeypatch, Trouble(lost_after=10, lost_by=kind), 1) as responder,
        pytest.raises(DataError, match=rf"DynamoDB table Any in ap-northeast-1 .*{said}"),
    ):
        scan("Any", 1, patience_seconds=1)
    assert responder.counts["page"] == 10
    assert responder.counts[kind] > 1
    assert time.monotonic() - start < 60


def test_a_table_that_never_answers_is_not_waited_for(pages, monkeypatch):
    with (
        misbehaving(pages, monkeypatch, Trouble(lost_after=0), 1) as responder,
        pytest.raises(DataError, match="cannot be reached"),
    ):
        scan("Any", 1)
    assert responder.counts["drop"] <= SEGMENTS


def test_the_log_tells_of_every_50_000_records(pages, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("ogiri.captioning.data.collector.PROGRESS_RECORDS", 250)
    with misbehaving(pages, monkeypatch, Trouble(), 1):
        scan("Any", 1)
    assert [count for count in (250, 500, 750) if f"read {count} records of DynamoDB table Any" in caplog.text] == [
        250,
        500,
    ]
