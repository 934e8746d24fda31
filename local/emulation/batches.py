"""How a Distributed Map's ItemBatcher cuts its items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def batches(items: list[Any], most: int | None, most_bytes: int | None) -> Iterator[list[Any]]:
    """Items in order, in batches that keep to both limits; an item that is too large is alone."""
    batch: list[Any] = []
    size = 0
    for item in items:
        own = len(json.dumps(item, ensure_ascii=False).encode())
        full = most is not None and len(batch) >= most
        if batch and (full or (most_bytes is not None and size + own > most_bytes)):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += own
    if batch:
        yield batch
