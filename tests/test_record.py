from decimal import Decimal

import pytest

from ogiri.record import Label, Record, RecordError, from_item, image_key, labels_from, to_item


def test_a_record_survives_the_way_through_an_item():
    record = Record("a.jpg", "猫\n会議", (Label("Cat", 98.5), Label("Pet")), "立入禁止", "https://a.example/a.jpg", 0.1)
    item = to_item(record)
    assert item["Score"] == Decimal("0.1")
    assert item["Labels"][0] == {"Name": "Cat", "Confidence": Decimal("98.5")}
    assert from_item(item) == record


def test_absent_attributes_stay_absent():
    assert to_item(Record("a.jpg", "x")) == {"ImageKey": "a.jpg", "ExpectedResult": "x", "Labels": []}
    assert from_item({"ImageKey": "a.jpg", "ExpectedResult": "x"}) == Record("a.jpg", "x")


def test_unknown_attributes_are_ignored():
    item = {"ImageKey": "a.jpg", "ExpectedResult": "x", "Category": {"any": b"thing"}, "Rating": None}
    assert from_item(item) == Record("a.jpg", "x")


@pytest.mark.parametrize(
    "value",
    [
        [{"Name": "Cat", "Confidence": Decimal("98.5")}, {"Name": "Pet"}],
        [{"Name": "Pet"}, {"Name": "Cat", "Confidence": 98.5, "Parents": []}],
    ],
)
def test_labels_as_maps_come_best_first(value):
    assert labels_from(value) == (Label("Cat", 98.5), Label("Pet"))


def test_labels_as_strings_keep_their_order_and_a_set_is_sorted():
    assert labels_from(["Pet", "Cat"]) == (Label("Pet"), Label("Cat"))
    assert labels_from({"Pet", "Cat"}) == (Label("Cat"), Label("Pet"))
    assert labels_from(None) == labels_from([]) == ()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("ImageKey", None),
        ("ImageKey", ""),
        ("ImageKey", 5),
        ("ImageKey", "../a.jpg"),
        ("ImageKey", "images/a.jpg"),
        ("ImageKey", "a\\b.jpg"),
        ("ImageKey", ".."),
        ("ImageKey", "a\n.jpg"),
        ("ImageKey", "あ" * 86),
        ("ImageKey", "\ud800.jpg"),
        ("ExpectedResult", None),
        ("ExpectedResult", " \n\u3000"),
        ("ExpectedResult", "あ" * 342),
        ("ExpectedResult", "\ud800"),
        ("Labels", "Cat"),
        ("Labels", {"Name": "Cat"}),
        ("Labels", [""]),
        ("Labels", [5]),
        ("Labels", [{"Confidence": 5}]),
        ("Labels", [{"Name": "Cat", "Confidence": 101}]),
        ("Labels", [{"Name": "Cat", "Confidence": "high"}]),
        ("DetectedText", ["x"]),
        ("ImageUrl", 5),
        ("Score", "many"),
        ("Score", True),
        ("Score", float("nan")),
    ],
)
def test_an_attribute_that_cannot_be_is_named(attribute, value):
    name = "Confidence|Labels" if attribute == "Labels" else attribute
    with pytest.raises(RecordError, match=name):
        from_item({"ImageKey": "a.jpg", "ExpectedResult": "x", attribute: value})


def test_keys_are_plain_names_and_differ_by_url():
    urls = [
        "https://a.example/image.jpg",
        "https://b.example/image.jpg",
        "https://a.example/image.jpg?size=2",
        "https://a.example/" + "長" * 300 + ".jpeg",
        "https://a.example/",
        "../../etc/passwd",
        "/images/3.jpg",
    ]
    keys = [image_key(url) for url in urls]
    assert len(set(keys)) == len(urls)
    for key in keys:
        assert from_item({"ImageKey": key, "ExpectedResult": "x"}).image_key == key
        assert key.isascii()
    assert keys[0].startswith("image-")
    assert keys[0].endswith(".jpg")


def test_a_url_always_gets_the_same_key():
    assert image_key("https://example.com/cat%20one.jpg?size=2") == "cat_one-d973a75e7e71.jpg"


@pytest.mark.parametrize(
    "attributes",
    [{"DetectedText": "\ud842"}, {"ImageUrl": "\udfb7"}, {"Labels": ["\ud842"]}, {"Labels": [{"Name": "\ud842"}]}],
)
def test_half_a_character_is_refused_by_name(attributes: dict[str, object]):
    with pytest.raises(RecordError, match=f"{next(iter(attributes))} is .* no valid Unicode"):
        from_item({"ImageKey": "a.jpg", "ExpectedResult": "犬", **attributes})
