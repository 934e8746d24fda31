"""Records that go to another process as bytes."""

import numpy as np

from ogiri.captioning.data.records import Records, RecordsBuilder
from ogiri.captioning.training.parcel import pack, unpack
from ogiri.record import Label, Record


def records() -> Records:
    builder = RecordsBuilder()
    builder.add(Record("b.png", "行\0目", (Label("犬", 90.0), Label("🐕", None)), "止まれ", score=3.0))
    builder.add(Record("a.png", "半\ud83d分", (), ""))
    builder.add(Record("c.png", "犬", (Label("犬", 10.0),), ""))
    return builder.build()


def test_all_that_a_record_holds_arrives():
    sent, got = records(), unpack(pack(records()))
    assert got.lines == sent.lines
    assert list(got.pictures) == list(sent.pictures)
    np.testing.assert_array_equal(got.picture_of, sent.picture_of)
    np.testing.assert_array_equal(got.scores, sent.scores)
    np.testing.assert_array_equal(got.pictures.name_counts(), sent.pictures.name_counts())


def test_pictures_that_were_left_out_stay_out():
    some = records().select([1, 2])
    got = unpack(pack(some))
    assert list(got.pictures) == list(some.pictures)
    assert got.lines == some.lines
    assert got.pictures.keys == ["b.png", "c.png"]
    assert list(got.select([1]).pictures) == list(some.select([1]).pictures)
