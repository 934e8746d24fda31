"""A Rekognition that really looks at the pictures, on loopback.

    python -m local.rekognition --port 0 --pretrained FOLDER

It answers DetectLabels, DetectText and DetectModerationLabels as boto3 asks for them (set
AWS_ENDPOINT_URL_REKOGNITION). Labels come from a torchvision classifier where its weights are at hand, and are measured
colours and shapes otherwise; text comes from Tesseract. Amazon's own reads no Japanese; this one does where Tesseract's
`jpn` is installed.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image, ImageOps

from local import appearance, moderation
from local.label import SeenLabel
from local.process import running
from local.text import Line, Reader, Word

MAX_BYTES_IN_REQUEST = 5_242_880
MAX_BYTES_IN_S3 = 15 * 1024 * 1024
DEFAULT_MIN_CONFIDENCE = 55.0
DEFAULT_MAX_LABELS = 1000
FORMATS = ("JPEG", "PNG")  # Rekognition reads no other
TARGET = "RekognitionService."
_LISTENING = re.compile(r"^listening on (http://\S+)$", re.MULTILINE)


class RekognitionError(Exception):
    """An error as AWS names it: `InvalidImageFormatException`, for example."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StandIn:
    """Answers to the requests, each from the request's JSON to the answer's."""

    def __init__(self, labels: Callable[[Image.Image], list[SeenLabel]], reader: Reader, s3: Any) -> None:
        self._labels = labels
        self._reader = reader
        self._s3 = s3

    def detect_labels(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DetectLabels with Features GENERAL_LABELS."""
        if list(request.get("Features") or ["GENERAL_LABELS"]) != ["GENERAL_LABELS"]:
            raise RekognitionError("InvalidParameterException", "this stand-in knows GENERAL_LABELS only")
        smallest = _number(request, "MinConfidence", DEFAULT_MIN_CONFIDENCE, 100)
        most = int(_number(request, "MaxLabels", DEFAULT_MAX_LABELS, None))
        filters = (request.get("Settings") or {}).get("GeneralLabels") or {}
        wanted, unwanted = filters.get("LabelInclusionFilters"), filters.get("LabelExclusionFilters") or ()
        seen = [
            label
            for label in self._labels(self._picture(request))
            if label.confidence >= smallest and (not wanted or label.name in wanted) and label.name not in unwanted
        ]
        return {"Labels": [label.to_json() for label in seen[:most]], "LabelModelVersion": "3.0"}

    def detect_text(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DetectText: every line, then every word with its line's Id as ParentId."""
        filters = request.get("Filters") or {}
        if filters.get("RegionsOfInterest"):
            raise RekognitionError("InvalidParameterException", "this stand-in knows no RegionsOfInterest")
        smallest = _number(filters.get("WordFilter") or {}, "MinConfidence", 0.0, 100)
        lines = [line for line in self._reader.read(self._picture(request)) if line.confidence >= smallest]
        detections = [_detection(line, "LINE", number) for number, line in enumerate(lines)]
        for parent, line in enumerate(lines):
            for word in line.words:
                detections.append(_detection(word, "WORD", len(detections), parent))
        return {"TextDetections": detections, "TextModelVersion": "3.0"}

    def detect_moderation_labels(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DetectModerationLabels with Rekognition's own model."""
        smallest = _number(request, "MinConfidence", moderation.DEFAULT_MIN_CONFIDENCE, 100)
        found = moderation.moderation_labels(self._labels(self._picture(request)), smallest)
        return {"ModerationLabels": found, "ModerationModelVersion": moderation.MODEL_VERSION, "ContentTypes": []}

    def _picture(self, request: Mapping[str, Any]) -> Image.Image:
        given = request.get("Image")
        if not isinstance(given, Mapping) or ("Bytes" in given) == ("S3Object" in given):
            raise RekognitionError("InvalidParameterException", "Image must have either Bytes or S3Object")
        data = _from_request(given["Bytes"]) if "Bytes" in given else _from_s3(self._s3, given["S3Object"])
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            return ImageOps.exif_transpose(image).convert("RGB")
        except Image.DecompressionBombError as error:
            raise RekognitionError("ImageTooLargeException", f"Image is too large: {error}") from error
        except (OSError, ValueError, SyntaxError) as error:
            raise RekognitionError("InvalidImageFormatException", "Request has invalid image format") from error


def _detection(found: Line | Word, kind: str, number: int, parent: int | None = None) -> dict[str, Any]:
    return {
        "DetectedText": found.text,
        "Type": kind,
        "Id": number,
        **({} if parent is None else {"ParentId": parent}),
        "Confidence": round(found.confidence, 4),
        "Geometry": {"BoundingBox": found.box.to_json(), "Polygon": found.box.polygon()},
    }


def _number(request: Mapping[str, Any], name: str, default: float, maximum: float | None) -> float:
    value = request.get(name, default)
    valid = isinstance(value, int | float) and not isinstance(value, bool)
    if not valid or value < 0 or (maximum is not None and value > maximum):
        allowed = "0 or more" if maximum is None else f"0 to {maximum:g}"
        raise RekognitionError("InvalidParameterException", f"{name} is {value!r}: it must be {allowed}")
    return float(value)


def _from_request(text: object) -> bytes:
    try:
        data = base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise RekognitionError("SerializationException", f"Bytes is not base64: {error}") from error
    if len(data) > MAX_BYTES_IN_REQUEST:
        message = f"Image has {len(data)} bytes: at most {MAX_BYTES_IN_REQUEST} may be sent, put it in S3"
        raise RekognitionError("ImageTooLargeException", message)
    return data


def _from_s3(s3: Any, location: Mapping[str, str]) -> bytes:
    version = {"VersionId": location["Version"]} if location.get("Version") else {}
    try:
        found = s3.get_object(Bucket=location["Bucket"], Key=location["Name"], **version)
        if found["ContentLength"] > MAX_BYTES_IN_S3:
            message = f"Image has {found['ContentLength']} bytes: at most {MAX_BYTES_IN_S3} are allowed in S3"
            raise RekognitionError("ImageTooLargeException", message)
        return bytes(found["Body"].read())
    except (KeyError, BotoCoreError, ClientError) as error:
        message = "Unable to get object metadata from S3. Check object key, region and/or access permissions."
        raise RekognitionError("InvalidS3ObjectException", message) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, stand_in: StandIn) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.operations: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "DetectLabels": stand_in.detect_labels,
            "DetectText": stand_in.detect_text,
            "DetectModerationLabels": stand_in.detect_moderation_labels,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self._answer(200, self._operation()(_object(body)))
        except RekognitionError as error:
            self._answer(400, {"__type": error.code, "Message": str(error)}, error.code)
        except Exception as error:
            self.log_error("%s: %s", type(error).__name__, error)
            message = f"{type(error).__name__}: {error}"
            self._answer(500, {"__type": "InternalServerError", "Message": message}, "InternalServerError")

    def _operation(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        name = self.headers.get("X-Amz-Target", "").removeprefix(TARGET)
        operations = cast(_Server, self.server).operations
        if name not in operations:
            message = f"this stand-in knows {', '.join(operations)}, not {name!r}"
            raise RekognitionError("UnknownOperationException", message)
        return operations[name]

    def _answer(self, status: int, answer: Mapping[str, Any], error: str | None = None) -> None:
        data = json.dumps(answer, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        if error:
            self.send_header("x-amzn-errortype", error)
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Answers are not logged, only failures are."""


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise RekognitionError("SerializationException", f"the request is not JSON: {error}") from error
    if not isinstance(request, Mapping):
        raise RekognitionError("SerializationException", "the request is not a JSON object")
    return request


@dataclass(frozen=True)
class Rekognition:
    """A running stand-in.

    Attributes:
        endpoint_url: for AWS_ENDPOINT_URL_REKOGNITION.
        notices: what labels and text are made from, a line each.
    """

    endpoint_url: str
    notices: tuple[str, ...]


@contextlib.contextmanager
def rekognition_server(
    environment: Mapping[str, str] | None = None,
    *,
    pretrained: Path | None = None,
    text: str = "auto",
    log: Path | None = None,
) -> Iterator[Rekognition]:
    """Start the stand-in on a free port, and end it with the block.

    Args:
        environment: of its process; `EmbeddedAWS.process_environment()` lets it read pictures from S3.
        pretrained: folder with a classifier's weights, `MODEL.pth` or `MODEL.safetensors` anywhere below it.
        text: `auto` reads text where Tesseract is installed, `off` never does (it takes 0.2 s a picture).
        log: file for its log, a temporary one by default.

    Raises:
        ProcessError: it does not start.
    """
    command = [sys.executable, "-m", "local.rekognition", "--port", "0", "--text", text]
    if pretrained is not None:
        command += ["--pretrained", str(pretrained)]
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, os.environ.get("PYTHONPATH", "")]
    child = {**(os.environ if environment is None else environment), "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with contextlib.ExitStack() as stack:
        if log is None:
            log = (
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ogiri-rekognition-"))) / "rekognition.log"
            )
        log_file = log
        yield stack.enter_context(running(command, log=log_file, ready=lambda: _listening(log_file), environment=child))


def _listening(log: Path) -> Rekognition | None:
    text = log.read_text(encoding="utf-8", errors="replace")
    found = _LISTENING.search(text)
    return Rekognition(found.group(1), tuple(text[: found.start()].splitlines())) if found else None


def _labeller(pretrained: Path | None) -> tuple[Callable[[Image.Image], list[SeenLabel]], str]:
    """What labels a picture, and a line that says what it is."""
    reason = "no classifier weights"
    if pretrained is not None:
        files = sorted(path for suffix in ("safetensors", "pth") for path in pretrained.rglob(f"*.{suffix}"))
        reason += f" in {pretrained}"
        for path in files:
            from local.classifier import Classifier  # torch takes seconds to import: only with weights

            try:
                classifier = Classifier(path)
            except ValueError as error:
                reason = str(error)
            else:
                return classifier.labels, f"labels come from {classifier.name} with the weights of {path.name}"
    return appearance.labels, f"{reason}: labels are measured colours and shapes"


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m local.rekognition", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--pretrained", type=Path, default=os.environ.get("PRETRAINED") or None, help="weights folder")
    parser.add_argument("--text", choices=("auto", "off"), default="auto", help="read text with Tesseract, or never")
    options = parser.parse_args()
    labels, notice = _labeller(options.pretrained)
    os.environ["OMP_THREAD_LIMIT"] = "1"  # Tesseract's threads wait for each other more than they read
    reader = Reader(enabled=options.text == "auto")
    with _Server(options.port, StandIn(labels, reader, boto3.client("s3"))) as server:
        print(notice, reader.describe(), f"listening on http://127.0.0.1:{server.server_port}", sep="\n", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
