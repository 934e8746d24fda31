"""A picture's bytes → what is to be seen, and what is written in it.

Limits: https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from PIL import Image, ImageOps

from ogiri.record import Label, labels_from
from ogiri_aws.pictures import PictureError, opened

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.type_defs import TextDetectionTypeDef

MAX_BYTES = 5 * 1024 * 1024  # sent with the call; 15 MB would be allowed in S3, in the same region only
MIN_SIDE, MAX_SIDE = 80, 10_000  # pixels
MAX_TEXT_CHARACTERS = 200

_MODES = {"JPEG": ("L", "RGB"), "MPO": ("L", "RGB"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA")}
_COPY_SIDES = (4096, 2048, 1024)  # the first whose JPEG is small enough
_REFUSALS = ("InvalidImageFormatException", "ImageTooLargeException", "InvalidParameterException")


@dataclass(frozen=True)
class Detection:
    """What to ask for.

    Attributes:
        min_confidence: 0 to 100. Below Rekognition's own 55: training sees the confidence, and weighs with it.
        max_labels: the best so many.
        text: ask DetectText too, which costs as much as DetectLabels.
    """

    min_confidence: float = 30.0
    max_labels: int = 10
    text: bool = True


def analyse(
    client: RekognitionClient, picture: bytes, detection: Detection | None = None
) -> tuple[tuple[Label, ...], str]:
    """Labels, best first, and the text in the picture, its lines joined by a space.

    Raises:
        PictureError: the bytes are no picture, or Rekognition does not take it.
        botocore's ClientError, BotoCoreError: anything else that fails.
    """
    detection = detection or Detection()
    image = acceptable(picture)
    try:
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
            return _jpeg(image)
        except Exception as error:  # the codecs raise nearly anything for damaged data
            raise PictureError(f"the {image.format} picture is cut off or damaged ({error})") from error


def _jpeg(image: Image.Image) -> bytes:
    image.draft("RGB", (_COPY_SIDES[0], _COPY_SIDES[0]))
    rgb = _on_white(ImageOps.exif_transpose(image))
    data = b""
    for side in _COPY_SIDES:
        rgb.thumbnail((side, side))
        canvas = Image.new("RGB", (max(rgb.width, MIN_SIDE), max(rgb.height, MIN_SIDE)), "white")
        canvas.paste(rgb)
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=90)
        data = buffer.getvalue()
        if len(data) <= MAX_BYTES:
            break
    return data


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGB", layer.size, "white")
    white.paste(layer, mask=layer)
    return white


def _text(detections: Iterable[TextDetectionTypeDef]) -> str:
    """Every text is detected twice, as a LINE and as the WORDs in it."""
    lines = (detection.get("DetectedText", "") for detection in detections if detection.get("Type") == "LINE")
    return " ".join(" ".join(lines).split())[:MAX_TEXT_CHARACTERS].rstrip()
