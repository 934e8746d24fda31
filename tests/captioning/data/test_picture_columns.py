import tracemalloc

import numpy as np
import pytest

from ogiri.captioning.data.pictures import Picture, Pictures
from ogiri.captioning.data.records import RecordsBuilder
from ogiri.record import Label, Record

DOG, CAT, PET = Label("Dog", 99.0), Label("Cat", 98.25), Label("Pet")


@pytest.fixture
def pictures() -> Pictures:
    builder = RecordsBuilder()
    builder.add(Record("c.jpg", "x", (DOG, PET), "止まれ"))
    builder.add(Record("a.jpg", "x", (CAT, DOG)))
    builder.add(Record("b.jpg", "x"))
    return builder.build().pictures


def test_a_picture_is_what_was_added(pictures: Pictures):
    assert pictures == (Picture("a.jpg", (CAT, DOG)), Picture("b.jpg"), Picture("c.jpg", (DOG, PET), "止まれ"))
    assert pictures[-1] == pictures[2] == list(pictures)[2]
    assert pictures[1:] == [pictures[1], pictures[2]]
    assert pictures != [pictures[0]]
    with pytest.raises(IndexError):
        pictures[3]


def test_columns_say_the_same_as_the_pictures(pictures: Pictures):
    assert pictures.keys == [picture.key for picture in pictures]
    assert pictures.texts == [picture.detected_text for picture in pictures]
    assert pictures.label_counts.tolist() == [len(picture.labels) for picture in pictures]
    counts = dict(zip(pictures.label_names, pictures.name_counts().tolist(), strict=True))
    assert counts == {"Dog": 2, "Cat": 1, "Pet": 1}


def test_taken_pictures_keep_their_labels_and_text(pictures: Pictures):
    taken = pictures.take(np.array([2, 0]))
    assert taken == [pictures[2], pictures[0]]
    assert taken.keys == ["c.jpg", "a.jpg"]
    counts = dict(zip(taken.label_names, pictures.take(np.array([1, 2])).name_counts().tolist(), strict=True))
    assert counts == {"Dog": 1, "Cat": 0, "Pet": 1}


def test_names_are_counted_over_more_pictures_than_are_counted_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ogiri.captioning.data.pictures.COUNTED_AT_ONCE", 7)
    builder = RecordsBuilder()
    for n in range(100):
        builder.add(Record(f"{n:03}.jpg", "x", tuple(Label(f"L{i}", 50.0) for i in range(n % 5))))
    pictures = builder.build().pictures
    assert dict(zip(pictures.label_names, pictures.name_counts().tolist(), strict=True)) == {
        f"L{i}": 100 - 20 * (i + 1) for i in range(4)
    }


@pytest.mark.parametrize(("lines", "most"), [(1, 420), (10, 190)])
def test_a_record_takes_a_few_hundred_bytes(lines: int, most: int):
    """Ten labels in objects are 1,400 bytes, a million records so 1.4 GB."""
    records = 20_000
    tracemalloc.start()
    builder = RecordsBuilder()
    for n in range(records):
        labels = tuple(Label(f"Label {(n // lines + i) % 500}", 50 + n % 7 + i / 7) for i in range(10))
        builder.add(Record(f"picture-{n // lines:012}.jpg", f"{n:06} 二十文字くらいの一言です", labels))
    built = builder.build()
    del builder
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(built) == records
    assert taken / records < most
