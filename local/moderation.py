"""What moderation would object to, told by the labels of a picture, in the names of Rekognition's version 7.

https://docs.aws.amazon.com/rekognition/latest/dg/moderation.html lists them. A classifier of ImageNet sees weapons,
alcohol, gambling machines and swimwear; of the rest of the list it knows nothing, and measured colours know of none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from local.label import SeenLabel

MODEL_VERSION = "7.0"
DEFAULT_MIN_CONFIDENCE = 50.0

# name of a label, or of one of its parents: (category, its wider one, empty for one of the first level)
_CATEGORIES: Mapping[str, tuple[str, str]] = {
    "Weapon": ("Weapons", "Violence"),
    "Beer Bottle": ("Alcoholic Beverages", "Alcohol"),
    "Beer Glass": ("Alcoholic Beverages", "Alcohol"),
    "Wine Bottle": ("Alcoholic Beverages", "Alcohol"),
    "Red Wine": ("Alcoholic Beverages", "Alcohol"),
    "Slot": ("Gambling", ""),
    "Swimwear": ("Swimwear or Underwear", ""),
}


def moderation_labels(seen: Iterable[SeenLabel], smallest: float) -> list[dict[str, Any]]:
    """DetectModerationLabels' `ModerationLabels`, each category beside its wider one, surest first.

    Args:
        seen: in the picture.
        smallest: confidence, 0 to 100.
    """
    found: dict[tuple[str, str], float] = {}
    for label in seen:
        for name in (label.name, *label.parents):
            if name not in _CATEGORIES or label.confidence < smallest:
                continue
            category, wider = _CATEGORIES[name]
            for entry in ((category, wider), (wider, "")) if wider else ((category, ""),):
                found[entry] = max(found.get(entry, 0.0), label.confidence)
    return [
        {"Name": name, "ParentName": wider, "Confidence": round(confidence, 4), "TaxonomyLevel": 2 if wider else 1}
        for (name, wider), confidence in sorted(found.items(), key=lambda entry: -entry[1])
    ]
