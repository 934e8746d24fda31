"""A picture's bytes → what is to be seen, and what is written in it.

Limits: https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ogiri.record import Label, labels_from
from ogiri_aws.copies import jpeg_copy
from ogiri_aws.pictures import PictureError, opened

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import TextDetectionTypeDef

MAX_BYTES = 5 * 1024 * 1024  # sent with the call; 15 MB would be allowed in S3, in the same region only
MIN_SIDE, MAX_SIDE = 80, 10_000  # pixels
MAX_TEXT_CHARACTERS = 200

_MODES = {"JPEG": ("L", "RGB"), "MPO": ("L", "RGB"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA")}
_REFUSALS = ("InvalidImageFormatException", "ImageTooLargeException", "InvalidParameterException")


@dataclass(frozen=True)
class Detection:
    """What to ask for.

    Attributes:
        min_confidence: 0 to 100. Below Rekognition's own 55: training sees the confidence, and weighs with it.
        max_labels: the best so many.
        text: ask DetectText too, which costs as much as DetectLabels.
        moderation_confidence: 1 to 100 asks DetectModerationLabels first, and refuses a picture with one at least as
            sure as that; 0 asks nothing.
    """

    min_confidence: float = 30.0
    max_labels: int = 10
    text: bool = True
    moderation_confidence: float = 0.0


def analyse(
    client: RekognitionClient, picture: bytes, detection: Detection | None = None
) -> tuple[tuple[Label, ...], str]:
    """Labels, best first, and the text in the picture, its lines joined by a space.

    Raises:
        PictureError: the bytes are no picture, Rekognition does not take it, or it is one that moderation refuses.
        botocore's ClientError, BotoCoreError: anything else that fails.
    """
    detection = detection or Detection()
    image = acceptable(picture)
    try:
        if detection.moderation_confidence:
            _moderate(client, image, detection.moderation_confidence)
        answer = client.detect_labels(
            Image={"Bytes": image}, MinConfidence=detection.min_confidence, MaxLabels=detection.max_labels
        )
        labels = labels_from([label for label in answer["Labels"] if label.get("Name")])
        if not detection.text:
            return labels, ""
        return labels, _text(client.detect_text(Image={"Bytes": image})["TextDetections"])
    except ClientError as error:
        if error.response["Error"].get("Code") in _REFUSALS:
            reason = error.response["Error"].get("Message")
            raise PictureError(f"Rekognition does not take the picture ({reason})") from error
        raise


def acceptable(picture: bytes) -> bytes:
    """The same bytes where Rekognition takes them, else a JPEG: upright, first frame, on white, large enough.

    Raises:
        PictureError: the bytes are no picture.
    """
    with opened(picture) as image:
        side_fits = min(image.size) >= MIN_SIDE and max(image.size) <= MAX_SIDE
        if side_fits and len(picture) <= MAX_BYTES and image.mode in _MODES.get(image.format or "", ()):
            return picture
        try:
            return jpeg_copy(image, MAX_BYTES, MIN_SIDE)
        except Exception as error:  # the codecs raise nearly anything for damaged data
            raise PictureError(f"the {image.format} picture is cut off or damaged ({error})") from error


def _moderate(client: RekognitionClient, image: bytes, confidence: float) -> None:
    labels = client.detect_moderation_labels(Image={"Bytes": image}, MinConfidence=confidence)["ModerationLabels"]
    if labels:
        found = ", ".join(f"{label.get('Name', '')} ({label.get('Confidence', 0):.0f} %)" for label in labels)
        raise PictureError(f"Rekognition's moderation finds {found}")


def _text(detections: Iterable[TextDetectionTypeDef]) -> str:
    """Every text is detected twice, as a LINE and as the WORDs in it."""
    lines = (detection.get("DetectedText", "") for detection in detections if detection.get("Type") == "LINE")
    return " ".join(" ".join(lines).split())[:MAX_TEXT_CHARACTERS].rstrip()
