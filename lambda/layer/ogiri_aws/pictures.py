"""A picture's URL → its bytes, from the web, from S3 or from a folder that was named on purpose."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from PIL import Image
from urllib3.exceptions import HTTPError, ReadTimeoutError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # those that training and serving read
MAX_PIXELS = 50_000_000
CHUNK_BYTES = 64 * 1024


class PictureError(Exception):
    """A picture that cannot be had or read; the message names it and says why."""


class TooLargeError(PictureError):
    """A picture of more than `MAX_PIXELS`."""


@dataclass(frozen=True)
class Limits:
    """How long and how large a fetched picture may be.

    Attributes:
        connect_seconds: until the server takes the connection.
        read_seconds: between two packets.
        total_seconds: for the whole body.
        max_bytes: of the body, after decompression.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    total_seconds: float = 60.0
    max_bytes: int = 25 * 1024 * 1024


@dataclass(frozen=True)
class PictureSource:
    """Where pictures are read from. Its methods may be called from many threads.

    Attributes:
        s3: for `s3://` URLs.
        http: for `https://` and `http://` URLs.
        folder: for paths; None allows none.
        limits: what is too slow or too large.
    """

    s3: S3Client
    http: requests.Session
    folder: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def fetch(self, url: str) -> bytes:
        """The bytes at `url`, at most `limits.max_bytes`.

        Raises:
            PictureError: there is nothing, it may not be read, or it is too slow or too large.
        """
        scheme = url.partition(":")[0].lower() if ":" in url else ""
        if scheme in ("http", "https"):
            return self._from_web(url)
        if scheme == "s3":
            return self._from_s3(url)
        if scheme:
            raise PictureError(f"{url} must start with https://, http:// or s3://")
        path = local_file(url, self.folder)
        try:
            self._check_size(url, path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise PictureError(f"{url} cannot be read ({error.strerror})") from error

    def local_bytes(self, url: str) -> int | None:
        """The size of a picture in the folder; None for one from elsewhere, or when it is not to be had."""
        if self.folder is None or ":" in url:
            return None
        try:
            return local_file(url, self.folder).stat().st_size
        except (PictureError, OSError):
            return None

    def _from_web(self, url: str) -> bytes:
        limits = self.limits
        deadline = time.monotonic() + limits.total_seconds
        try:
            with self.http.get(url, stream=True, timeout=(limits.connect_seconds, limits.read_seconds)) as response:
                if response.status_code != requests.codes.ok:
                    raise PictureError(f"{url} answered {response.status_code} {response.reason or ''}".rstrip())
                length = response.headers.get("Content-Length", "")
                self._check_size(url, int(length) if length.isdecimal() else 0)
                body = bytearray()
                # Not iter_content: it waits for a full chunk, so a server that drips would never meet the deadline.
                while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                    body += chunk
                    self._check_size(url, len(body))
                    if time.monotonic() > deadline:
                        raise PictureError(f"{url} took longer than {limits.total_seconds:g} s")
                return bytes(body)
        except (requests.Timeout, ReadTimeoutError) as error:
            raise PictureError(f"{url} did not answer in time") from error
        except (requests.RequestException, HTTPError, ValueError) as error:  # ValueError: a host no codec can encode
            raise PictureError(f"{url} cannot be fetched ({_innermost(error)})") from error

    def _from_s3(self, url: str) -> bytes:
        bucket, _, key = url[len("s3://") :].partition("/")  # not urlsplit: a key may have `?`, `#` and `%`
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                self._check_size(url, answer["ContentLength"])
                return body.read()
        except ClientError as error:
            raise PictureError(f"{url}: S3 answered {error.response['Error'].get('Code')}") from error
        except (BotoCoreError, HTTPError, OSError) as error:
            reason = "this is no bucket's name" if isinstance(error, ParamValidationError) else error
            raise PictureError(f"{url} cannot be fetched ({reason})") from error

    def _check_size(self, url: str, size: int) -> None:
        if size > self.limits.max_bytes:
            raise PictureError(f"{url} is larger than {self.limits.max_bytes:,} bytes")


def local_file(name: str, folder: Path | None) -> Path:
    """The file of a name in a folder. A leading slash is the folder's root: ボケ缶 writes `/images/1.jpg`.

    Raises:
        PictureError: there is no such file in it, or no folder.
    """
    if folder is None:
        raise PictureError(f"{name} is no URL, and no folder of pictures was given")
    root = folder.resolve()
    try:
        path = (root / name.lstrip("/")).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a loop of links
        raise PictureError(f"{name} is not in the folder of pictures") from error
    if not path.is_relative_to(root):
        raise PictureError(f"{name} leaves the folder of pictures")
    if not path.is_file():
        raise PictureError(f"{name} is no file")
    return path


def media_type(data: bytes) -> str:
    """What the bytes are, whatever their name says: `image/jpeg`. The whole picture is decoded, to be sure of it.

    Raises:
        PictureError: they are no whole picture in one of `FORMATS`, or one of more than `MAX_PIXELS`.
    """
    with opened(data) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))  # every byte is read, few pixels are computed
        try:
            image.load()
        except Exception as error:  # the codecs raise nearly anything for damaged data
            raise PictureError(f"the {image.format} picture is cut off or damaged ({error})") from error
        return "image/jpeg" if image.format == "MPO" else Image.MIME[image.format or ""]


def opened(data: bytes) -> Image.Image:
    """The picture, its pixels not decoded yet.

    Raises:
        PictureError: as `media_type`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLargeError(f"the picture has more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # as above
        raise PictureError(f"the {len(data):,} bytes are no picture ({', '.join(FORMATS)} are read)") from error
    if image.width * image.height > MAX_PIXELS:
        raise TooLargeError(f"the picture has {image.width} x {image.height} pixels: at most {MAX_PIXELS:,} are taken")
    return image


def _innermost(error: BaseException) -> str:
    """The cause that a reader understands: urllib3 wraps it several times."""
    reason = getattr(error, "reason", None)
    for inner in (reason, *error.args):
        if isinstance(inner, BaseException) and inner is not error:
            return _innermost(inner)
    text = str(error).rpartition(">: ")[2] or str(error)
    return text[:200]
