from __future__ import annotations

import io

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from local.aws import EmbeddedAWS, embedded_aws
from local.label import SeenLabel
from local.moderation import moderation_labels
from local.rekognition import rekognition_server
from ogiri_aws.pictures import PictureError
from ogiri_aws.rekognition import Detection, analyse


def test_categories_come_with_their_wider_ones_surest_first():
    seen = [
        SeenLabel("Revolver", 71.5, ("Weapon",)),
        SeenLabel("Assault Rifle", 80.25, ("Weapon",)),
        SeenLabel("Wine Bottle", 95.0),
        SeenLabel("Bikini", 40.0, ("Swimwear", "Clothing")),
        SeenLabel("Dog", 99.0, ("Pet",)),
    ]
    assert [tuple(label.values()) for label in moderation_labels(seen, 50.0)] == [
        ("Alcoholic Beverages", "Alcohol", 95.0, 2),
        ("Alcohol", "", 95.0, 1),
        ("Weapons", "Violence", 80.25, 2),
        ("Violence", "", 80.25, 1),
    ]
    assert [label["Name"] for label in moderation_labels(seen, 0.0)][-1] == "Swimwear or Underwear"


@pytest.fixture(scope="module")
def client():
    with embedded_aws(bucket=None, table=None) as aws, rekognition_server(aws.process_environment()) as server:
        looking: EmbeddedAWS = aws.with_rekognition(server.endpoint_url)
        yield looking.client("rekognition")


def test_the_stand_in_answers_as_boto3_asks(client):
    buffer = io.BytesIO()
    Image.new("RGB", (120, 90), "orange").save(buffer, "JPEG")
    answer = client.detect_moderation_labels(Image={"Bytes": buffer.getvalue()}, MinConfidence=60)
    assert (answer["ModerationLabels"], answer["ModerationModelVersion"]) == ([], "7.0")
    assert analyse(client, buffer.getvalue(), Detection(moderation_confidence=60, text=False))[0]
    with pytest.raises(ClientError, match="MinConfidence"):
        client.detect_moderation_labels(Image={"Bytes": buffer.getvalue()}, MinConfidence=101)
    with pytest.raises(PictureError, match="no picture"):
        analyse(client, b"text", Detection(moderation_confidence=60))
