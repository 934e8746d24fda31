"""What must go: a picture by any of its names, or a line with it, or a line wherever it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.errors import CommandError
from ogiri.record import RecordError, check_image_key, check_line, image_key
from ogiri_aws import forgotten
from ogiri_aws.results import CAPTIONED_PREFIX


@dataclass
class Target:
    """A picture, a line, or both.

    Attributes:
        bucket: of the pictures.
        keys: of the picture in the records, below `images/`; none means every picture.
        captioned: of the picture in answers of the API, below `captioned/`.
        urls: where it came from.
        results: answers that were named.
        line: the line; None means the picture with all that belongs to it.
    """

    bucket: str
    keys: set[str] = field(default_factory=set)
    captioned: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    line: str | None = None

    def add_key(self, key: str) -> None:
        """The picture has this file name, as a record or an answer gives it.

        Raises:
            CommandError: it is none.
        """
        try:
            self.keys.add(check_image_key(key))
        except RecordError as error:
            raise CommandError(f"{error}. Is it a URL? Then it is --url") from error
        self.add_captioned(key)

    def add_url(self, url: str) -> None:
        """The picture comes from there, as a CSV or a record says."""
        self.urls.add(url)
        self.keys.add(image_key(url))
        if url.startswith(self._captioned_url("")):
            self.captioned.add(url.removeprefix(self._captioned_url("")))

    def add_captioned(self, key: str) -> None:
        """An answer has this picture; a record made of the answer has it under another name."""
        self.captioned.add(key)
        self.keys.add(image_key(self._captioned_url(key)))

    def set_line(self, line: str) -> None:
        """Only this line; raises CommandError for one that no record can have."""
        try:
            self.line = check_line(line.replace("\r\n", "\n").replace("\r", "\n").strip())
        except RecordError as error:
            raise CommandError(str(error)) from error

    @property
    def everywhere(self) -> bool:
        """A line with every picture."""
        return not self.keys

    def names(self) -> list[str]:
        """For the list of what must not come back."""
        if self.line is None:
            return sorted(map(forgotten.picture_name, self.keys))
        return sorted(forgotten.line_name(self.line, key) for key in self.keys or {""})

    def has_record(self, key: str, line: str) -> bool:
        """Whether a record is meant."""
        return (self.everywhere or key in self.keys) and self.line in (None, line)

    def has_answer(self, item: Mapping[str, Any]) -> bool:
        """Whether an answer of the API is meant: of the picture, and with the line where there is one."""
        key = str(item.get("ImageKey", ""))
        ours = item["ResultId"] in self.results or key in self.captioned or self.everywhere
        ours = ours or (bool(key) and image_key(self._captioned_url(key)) in self.keys)
        texts: Iterable[str] = (str(caption["Text"]).strip() for caption in item.get("Captions", ()))
        return ours and (self.line is None or self.line in texts)

    def _captioned_url(self, key: str) -> str:
        return f"s3://{self.bucket}/{CAPTIONED_PREFIX}{key}"
