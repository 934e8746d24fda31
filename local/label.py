"""What was seen in a picture, in Rekognition's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Box:
    """Where something is, each value a share of the picture's width or height."""

    left: float
    top: float
    width: float
    height: float

    def to_json(self) -> dict[str, float]:
        """Rekognition's `BoundingBox`."""
        return {"Width": self.width, "Height": self.height, "Left": self.left, "Top": self.top}

    def polygon(self) -> list[dict[str, float]]:
        """Rekognition's `Polygon`: the four corners, clockwise from the upper left."""
        right, bottom = self.left + self.width, self.top + self.height
        corners = ((self.left, self.top), (right, self.top), (right, bottom), (self.left, bottom))
        return [{"X": x, "Y": y} for x, y in corners]

    @classmethod
    def around(cls, boxes: Iterable[Box]) -> Box:
        """The smallest box that holds all of `boxes`."""
        members = list(boxes)
        left = min(box.left for box in members)
        top = min(box.top for box in members)
        right = max(box.left + box.width for box in members)
        bottom = max(box.top + box.height for box in members)
        return cls(left, top, right - left, bottom - top)


@dataclass(frozen=True)
class SeenLabel:
    """One label.

    Attributes:
        name: `Golden Retriever`.
        confidence: 0 to 100.
        parents: wider names, `Dog`, `Animal`.
        boxes: where its instances are, when that is known.
    """

    name: str
    confidence: float
    parents: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """One entry of DetectLabels' `Labels`."""
        return {
            "Name": self.name,
            "Confidence": round(self.confidence, 4),
            "Instances": [
                {"BoundingBox": box.to_json(), "Confidence": round(self.confidence, 4)} for box in self.boxes
            ],
            "Parents": [{"Name": parent} for parent in self.parents],
            "Aliases": [],
            "Categories": [],
        }
