from __future__ import annotations

import importlib.util
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image, ImageDraw, ImageFont

from local.aws import EmbeddedAWS, embedded_aws
from local.rekognition import MAX_BYTES_IN_REQUEST, Rekognition, rekognition_server
from local.text import Reader


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAWS]:
    with embedded_aws(table=None) as started:
        yield started


@pytest.fixture(scope="module")
def server(aws: EmbeddedAWS) -> Iterator[Rekognition]:
    with rekognition_server(aws.process_environment()) as started:
        yield started


@pytest.fixture(scope="module")
def client(aws: EmbeddedAWS, server: Rekognition) -> Any:
    return aws.with_rekognition(server.endpoint_url).client("rekognition")


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def ball_on_grass(rng: random.Random) -> Image.Image:
    image = Image.new("RGB", (200, 150), (110, 180, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, rng.randint(85, 100), 200, 150), fill=(70, 160, 60))
    x, y, radius = rng.randint(60, 140), rng.randint(50, 90), rng.randint(20, 30)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(220, 30, 30))
    return image


def house_at_night(rng: random.Random) -> Image.Image:
    image = Image.new("RGB", (200, 150), (12, 14, 50))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 120, 200, 150), fill=(60, 60, 66))
    x, width = rng.randint(40, 100), rng.randint(40, 70)
    draw.rectangle((x, 120 - width, x + width, 120), fill=(245, 245, 235))
    return image


def written(text: str) -> Image.Image:
    package = importlib.util.find_spec("matplotlib_fontja")
    if package is None or not package.submodule_search_locations:
        pytest.skip("matplotlib-fontja, which has the Japanese font, is not installed")
    font = Path(package.submodule_search_locations[0]) / "fonts" / "ipaexg.ttf"
    image = Image.new("RGB", (400, 300), (120, 170, 90))
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 100, 340, 200), fill=(255, 250, 235))
    draw.text((200, 150), text, (30, 30, 40), ImageFont.truetype(str(font), 72), anchor="mm")
    return image


def names(answer: dict[str, Any]) -> set[str]:
    return {label["Name"] for label in answer["Labels"]}


def test_two_pictures_have_different_labels(client: Any):
    ball = names(client.detect_labels(Image={"Bytes": encoded(ball_on_grass(random.Random(1)))}))
    house = names(client.detect_labels(Image={"Bytes": encoded(house_at_night(random.Random(1)))}))
    assert {"Red Circle", "Grass", "Sky"} <= ball
    assert {"White Rectangle", "Night"} <= house
    assert not {"Red Circle", "Grass"} & house


def test_labels_are_in_rekognitions_format(client: Any):
    answer = client.detect_labels(Image={"Bytes": encoded(ball_on_grass(random.Random(1)))})
    ball = next(label for label in answer["Labels"] if label["Name"] == "Red Circle")
    assert {"Name", "Confidence", "Instances", "Parents", "Aliases", "Categories"} == set(ball)
    assert {parent["Name"] for parent in ball["Parents"]} == {"Circle", "Red"}
    box = ball["Instances"][0]["BoundingBox"]
    assert 0 < box["Left"] < box["Left"] + box["Width"] < 1
    confidences = [label["Confidence"] for label in answer["Labels"]]
    assert confidences == sorted(confidences, reverse=True)
    assert all(55 <= confidence <= 100 for confidence in confidences)
    assert answer["LabelModelVersion"]


def test_confidence_and_number_of_labels_are_limited_as_asked(client: Any):
    image = {"Bytes": encoded(ball_on_grass(random.Random(1)))}
    every = client.detect_labels(Image=image, MinConfidence=0)["Labels"]
    sure = client.detect_labels(Image=image, MinConfidence=90)["Labels"]
    assert client.detect_labels(Image=image, MinConfidence=0, MaxLabels=3)["Labels"] == every[:3]
    assert 0 < len(sure) < len(every)
    assert all(label["Confidence"] >= 90 for label in sure)


def test_reads_a_picture_in_s3(client: Any, aws: EmbeddedAWS):
    picture = encoded(ball_on_grass(random.Random(1)), "JPEG")
    aws.client("s3").put_object(Bucket=aws.bucket, Key="images/ball.jpg", Body=picture)
    stored = client.detect_labels(Image={"S3Object": {"Bucket": aws.bucket, "Name": "images/ball.jpg"}})
    assert stored["Labels"] == client.detect_labels(Image={"Bytes": picture})["Labels"]


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ({"Bytes": b"GIF89a, or so it says"}, "InvalidImageFormatException"),
        ({"Bytes": encoded(Image.new("RGB", (90, 90)), "WEBP")}, "InvalidImageFormatException"),
        ({"Bytes": encoded(Image.new("RGB", (90, 90)))[:60]}, "InvalidImageFormatException"),
        ({"Bytes": bytes(MAX_BYTES_IN_REQUEST + 1)}, "ImageTooLargeException"),
        ({"S3Object": {"Bucket": "ogiri-local", "Name": "images/none.jpg"}}, "InvalidS3ObjectException"),
        ({"S3Object": {"Bucket": "nobodys-bucket", "Name": "a.jpg"}}, "InvalidS3ObjectException"),
        ({}, "InvalidParameterException"),
    ],
)
@pytest.mark.parametrize("operation", ["detect_labels", "detect_text"])
def test_errors_are_those_of_aws(client: Any, operation: str, image: dict[str, Any], code: str):
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(Image=image)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert isinstance(caught.value, getattr(client.exceptions, code))


def test_a_value_out_of_range_is_named(client: Any):
    with pytest.raises(client.exceptions.InvalidParameterException, match=r"MinConfidence is 101.*0 to 100"):
        client.detect_labels(Image={"Bytes": encoded(Image.new("RGB", (90, 90)))}, MinConfidence=101)


def test_an_operation_that_it_does_not_know_is_refused(client: Any):
    with pytest.raises(ClientError, match="knows DetectLabels, DetectText, DetectModerationLabels, not 'DetectFaces'"):
        client.detect_faces(Image={"Bytes": b"x"})


@pytest.mark.parametrize(("text", "language"), [("止まれ", "jpn"), ("SALE", "eng")])
def test_reads_what_is_written(client: Any, text: str, language: str):
    if language not in Reader().languages:
        pytest.skip(f"Tesseract is not installed with {language}")
    found = client.detect_text(Image={"Bytes": encoded(written(text))})["TextDetections"]
    lines = [detection for detection in found if detection["Type"] == "LINE"]
    words = [detection for detection in found if detection["Type"] == "WORD"]
    assert [line["DetectedText"] for line in lines] == [text]
    assert [word["DetectedText"] for word in words] == [text]
    assert words[0]["ParentId"] == lines[0]["Id"]
    assert len({detection["Id"] for detection in found}) == len(found)
    assert 80 <= lines[0]["Confidence"] <= 100
    box = lines[0]["Geometry"]["BoundingBox"]
    assert box["Left"] == pytest.approx(0.25, abs=0.1)
    assert box["Top"] == pytest.approx(0.4, abs=0.1)
    assert box["Height"] == pytest.approx(0.22, abs=0.1)
    assert len(lines[0]["Geometry"]["Polygon"]) == 4


def test_finds_no_text_where_none_is(client: Any):
    assert client.detect_text(Image={"Bytes": encoded(house_at_night(random.Random(1)))})["TextDetections"] == []


def test_labels_tell_one_kind_of_picture_from_another(client: Any):
    kinds = {"ball": ball_on_grass, "house": house_at_night}
    seen = [
        (kind, names(client.detect_labels(Image={"Bytes": encoded(draw(random.Random(number)))})))
        for number in range(20)
        for kind, draw in kinds.items()
    ]
    shuffled = [labels for _, labels in seen]
    random.Random(0).shuffle(shuffled)
    mixed = [(kind, labels) for (kind, _), labels in zip(seen, shuffled, strict=True)]
    assert agreement(seen) == 1.0
    assert agreement(mixed) < 0.75


def agreement(pictures: list[tuple[str, set[str]]]) -> float:
    """How often the picture with the nearest set of labels, other than itself, is of the same kind."""
    right = 0
    for number, (kind, labels) in enumerate(pictures):
        others = pictures[:number] + pictures[number + 1 :]
        nearest = max(others, key=lambda other: len(labels & other[1]) / len(labels | other[1]))
        right += nearest[0] == kind
    return right / len(pictures)


def test_says_what_the_labels_are_made_from(server: Rekognition):
    assert "no classifier weights: labels are measured colours and shapes" in server.notices
    assert any("text" in notice for notice in server.notices)


def test_text_can_be_switched_off():
    with rekognition_server(text="off") as server:
        assert "no text is read: Tesseract is not installed, or it is switched off" in server.notices
