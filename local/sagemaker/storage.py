"""Folders ↔ S3, as SageMaker fills channels, keeps checkpoints and takes results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local.sagemaker.refusal import invalid

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

THREADS = 8
NOT_UPLOADED = ".sagemaker-ignore"


class StorageError(Exception):
    """What S3 does not have; the message names the address."""


@dataclass(frozen=True)
class Address:
    """`s3://BUCKET/KEY`."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> Address:
        return Address(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))


def address(uri: str) -> Address:
    """Take a URI apart.

    Raises:
        Refusal: it is none of S3.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise invalid(f"{uri!r} is no place in S3: it must be s3://BUCKET/KEY")
    return Address(parts.netloc, parts.path.lstrip("/"))


def download(s3: S3Client, source: Address, folder: Path) -> int:
    """Fetch everything whose key begins with the address's; returns the number of files.

    Names are what follows the last `/` of the prefix, as SageMaker takes them.

    Raises:
        StorageError: a key that would leave the folder.
        botocore's ClientError: there is no such bucket.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = source.key.rfind("/") + 1
    files = [(key, key[start:]) for key in _keys(s3, source) if not key.endswith("/")]

    def fetch(file: tuple[str, str]) -> None:
        key, name = file
        if ".." in PurePosixPath(name).parts:
            raise StorageError(f"s3://{source.bucket}/{key} has .. in its name")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(source.bucket, key, str(path))

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(1 for _ in pool.map(fetch, files))


def fetch_file(s3: S3Client, source: Address, path: Path) -> None:
    """Fetch one object; raises botocore's ClientError if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    s3.download_file(source.bucket, source.key, str(path))


def upload(s3: S3Client, path: Path, target: Address) -> None:
    """Put one file there."""
    s3.upload_file(str(path), target.bucket, target.key)


@dataclass
class Mirror:
    """A folder of checkpoints that S3 follows, deletions included."""

    s3: S3Client
    folder: Path
    target: Address
    _known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def restore(self) -> None:
        """Fill the folder with what an earlier job has left."""
        download(self.s3, self.target / "", self.folder)
        self._known = dict(self._files())

    def sync(self) -> None:
        """Upload what is new or different, delete what is gone."""
        now = dict(self._files())
        for name, seen in now.items():
            if self._known.get(name) == seen:
                continue
            try:
                upload(self.s3, self.folder / name, self.target / name)
            except FileNotFoundError:  # replaced by the job meanwhile: next time
                continue
            self._known[name] = seen
        for name in self._known.keys() - now.keys():
            gone = self.target / name
            self.s3.delete_object(Bucket=gone.bucket, Key=gone.key)
            del self._known[name]

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for path in sorted(self.folder.rglob("*")):
            if path.name.endswith((NOT_UPLOADED, ".sagemaker-uploading", ".sagemaker-uploaded")):
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                yield path.relative_to(self.folder).as_posix(), (stat.st_mtime_ns, stat.st_size)


def _keys(s3: S3Client, source: Address) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=source.key)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def empty(folder: Path) -> None:
    """Make a folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
