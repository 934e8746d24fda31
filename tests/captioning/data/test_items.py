import json
from typing import Any

import numpy as np
import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import example, given
from hypothesis import strategies as st

from ogiri.captioning.data.items import ItemReader
from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.record import Record, RecordError, from_item

NAMES = st.sampled_from(["Dog", "Cat", " ", "Über", "犬", ""])
NUMBERS = st.sampled_from(["98.5", "0", "100", "100.01", "-1", "7", "1E+1", "1E+126", "NaN", "Infinity", "much", ""])
MEMBERS = st.one_of(
    st.builds(lambda n, c: {"M": {"Name": {"S": n}, "Confidence": {"N": c}}}, NAMES, NUMBERS),
    st.builds(lambda n: {"M": {"Name": {"S": n}}}, NAMES),
    st.builds(lambda n: {"S": n}, NAMES),
    st.sampled_from([{"M": {"Name": {"N": "1"}}}, {"N": "3"}, {"NULL": True}, {"M": {"Name": {"S": "A"}, "B": {}}}]),
)
LABELS = st.one_of(
    st.builds(lambda members: {"L": members}, st.lists(MEMBERS, max_size=4)),
    st.builds(lambda names: {"SS": names}, st.lists(NAMES, max_size=3)),
    st.sampled_from([{"NULL": True}, {"S": "Dog"}, {}, {"L": [], "S": "x"}, {"Q": 1}]),
)
TEXTS = st.sampled_from([{"S": "犬"}, {"S": "line\nbreak"}, {"S": ""}, {"S": " "}, {"S": "\ud800"}, {"N": "1"}, {}])
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "ImageKey": st.sampled_from([{"S": "a.jpg"}, {"S": "b.jpg"}, {"S": "../a"}, {"S": ""}, {"N": "1"}]),
        "ExpectedResult": TEXTS,
        "Labels": LABELS,
        "DetectedText": TEXTS,
        "Score": st.one_of(st.builds(lambda n: {"N": n}, NUMBERS), st.just({"NULL": True}), st.just({"S": "1"})),
        "Category": st.just({"BOOL": False}),
    },
)
WHOLE = {"ImageKey": {"S": "a.jpg"}, "ExpectedResult": {"S": "x"}}


def slowly(item: dict[str, Any]) -> Record:
    """The way of boto3."""
    read = TypeDeserializer().deserialize
    try:
        return from_item({name: read(value) for name, value in item.items() if name != "Category"})
    except RecordError:
        raise
    except (TypeError, AttributeError, ArithmeticError) as error:
        raise RecordError(f"this is no item of DynamoDB ({error})") from error


def told(take: Any, item: Any) -> str:
    try:
        take(item)
    except RecordError as error:
        return str(error)
    return ""


def shown(records: Records) -> Any:
    return list(records.pictures), records.lines, records.picture_of.tolist(), records.scores.tobytes()


def check_as_boto3(items: list[dict[str, Any]]) -> None:
    fast, slow = RecordsBuilder(), RecordsBuilder()
    reader = ItemReader(fast)
    for item in items:
        expected = told(lambda one: slow.add(slowly(one)), item)
        assert told(reader.add, json.dumps(item).encode()) == expected
    assert shown(fast.build()) == shown(slow.build())


@given(st.lists(ITEMS, max_size=6))
@example([{"Labels": {"Q": 1}, "ExpectedResult": {}}])
def test_items_of_any_form_are_read_as_boto3_reads_them_and_refused_in_the_same_words(items: list[dict[str, Any]]):
    check_as_boto3(items)


@given(st.lists(st.tuples(LABELS, NUMBERS), min_size=1, max_size=6))
def test_labels_of_one_item_are_never_those_of_another(parts: list[tuple[Any, str]]):
    check_as_boto3(
        [
            {"ImageKey": {"S": f"{n}"}, "ExpectedResult": {"S": "x"}, "Labels": labels, "Score": {"N": number}}
            for n, (labels, number) in enumerate(parts)
        ]
    )


def test_labels_come_best_first_and_equal_ones_in_the_order_of_the_item():
    def label(name: str, confidence: str) -> dict[str, Any]:
        return {"M": {"Name": {"S": name}, "Confidence": {"N": confidence}, "Parents": {"L": []}}}

    labels = [label("Cat", "50"), label("Dog", "99"), label("Ant", "50")]
    check_as_boto3([{**WHOLE, "Labels": {"L": labels}}, {**WHOLE, "ImageKey": {"S": "b"}, "Labels": {"L": labels}}])
    builder = RecordsBuilder()
    reader = ItemReader(builder)
    for _ in range(2):  # the second one is read without `from_item`
        reader.add(json.dumps({**WHOLE, "Labels": {"L": labels}}).encode())
    assert [one.name for one in builder.build().pictures[0].labels] == ["Dog", "Cat", "Ant"]


@pytest.mark.parametrize("line", [b"", b"\xff", b'{"ImageKey": ', b"[]", b'"x"', b'{"Item": 5}', b'{"Item": {}}'])
def test_what_is_no_item_is_refused(line: bytes):
    reader = ItemReader(RecordsBuilder())
    with pytest.raises(RecordError):
        reader.add_line(line)
    with pytest.raises(RecordError):
        reader.add(line)


def test_a_line_may_be_typed_or_plain():
    builder = RecordsBuilder()
    reader = ItemReader(builder)
    reader.add_line(json.dumps({"Item": {**WHOLE, "Score": {"N": "2"}}}).encode())
    reader.add_line(json.dumps({"ImageKey": "b.jpg", "ExpectedResult": "y", "Score": 3, "Item": None}).encode())
    records = builder.build()
    assert records.pictures.keys == ["a.jpg", "b.jpg"]
    np.testing.assert_array_equal(records.scores, np.array([2, 3], np.float32))
