"""Things by name: what Create, Describe, List and Delete have in common for jobs, models, configurations, endpoints."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from local.aws import REGION
from local.sagemaker.refusal import invalid

ACCOUNT = "123456789012"
DEFAULT_PAGE = 100
_SORTED_BY = {"Name": "name", "Status": "status"}

_serial = itertools.count()


def arn_of(kind: str, name: str) -> str:
    """`arn:aws:sagemaker:REGION:ACCOUNT:KIND/NAME`."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


@dataclass
class Resource:
    """A thing with a name.

    Attributes:
        name: unique among its kind.
        arn: unique at all.
        request: what it was created with.
        created, modified: seconds since 1970.
        serial: tells which of two was created first.
        tags: name → value.
    """

    name: str
    arn: str
    request: Mapping[str, Any]
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    serial: int = field(default_factory=lambda: next(_serial))
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Tags come with the request."""
        self.tags |= {tag["Key"]: tag["Value"] for tag in self.request.get("Tags", ())}

    @property
    def status(self) -> str:
        """Empty for things that have none."""
        return ""


R = TypeVar("R", bound=Resource)


class Shelf(Generic[R]):
    """Resources of one kind; may be used by several threads.

    Args:
        described: how error messages call the kind, `endpoint configuration`.
    """

    def __init__(self, described: str) -> None:
        self._described = described
        self._things: dict[str, R] = {}
        self._lock = threading.Lock()

    def add(self, thing: R) -> None:
        """Put a new one there.

        Raises:
            Refusal: the name is taken.
        """
        with self._lock:
            if thing.name in self._things:
                raise invalid(f'Cannot create already existing {self._described} "{thing.arn}".')
            self._things[thing.name] = thing

    def get(self, name: str) -> R:
        """The one of that name.

        Raises:
            Refusal: there is none.
        """
        with self._lock:
            if name not in self._things:
                raise invalid(f'Could not find {self._described} "{name}".')
            return self._things[name]

    def remove(self, name: str) -> R:
        """Take one away; raises as `get` does."""
        thing = self.get(name)
        with self._lock:
            self._things.pop(name, None)
        return thing

    def all(self) -> list[R]:
        """All of them, oldest first."""
        with self._lock:
            return sorted(self._things.values(), key=lambda thing: thing.serial)

    def page(self, query: Mapping[str, Any], order: str = "Descending") -> tuple[list[R], dict[str, str]]:
        """One page of a list, and `{"NextToken": …}` where there are more.

        Args:
            query: `NameContains`, `StatusEquals`, `SortBy`, `SortOrder`, `MaxResults`, `NextToken`.
            order: what goes without `SortOrder`.

        Raises:
            Refusal: the token is not one of ours.
        """
        found = [
            thing
            for thing in self.all()
            if query.get("NameContains", "") in thing.name and query.get("StatusEquals", thing.status) == thing.status
        ]
        attribute = _SORTED_BY.get(query.get("SortBy", ""), "serial")
        found.sort(key=lambda thing: getattr(thing, attribute), reverse=query.get("SortOrder", order) == "Descending")
        token = query.get("NextToken", "0")
        if not token.isdecimal():
            raise invalid(f"Invalid NextToken {token!r}")
        first, size = int(token), query.get("MaxResults", DEFAULT_PAGE)
        more = {"NextToken": str(first + size)} if len(found) > first + size else {}
        return found[first : first + size], more


def summary(prefix: str, thing: Resource) -> dict[str, Any]:
    """`{"ModelName", "ModelArn", "CreationTime"}`, an entry of a list."""
    return {f"{prefix}Name": thing.name, f"{prefix}Arn": thing.arn, "CreationTime": thing.created}
