"""Labels measured from a picture's colours and shapes: what stands in for a classifier when nobody has its weights.

A label's confidence says where its measured value lies between "surely not" (0) and "surely" (99.9). Nothing here
recognises a thing: `Sky` means that the upper third is blue, and `Red Circle` that a red patch is nearly round.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from local.colour import COLOURS, Indices, named, shares
from local.label import SeenLabel
from local.patch import Patch, patches

LONGER_SIDE = 112  # pixels at which pictures are measured
SHORTEST_SIDE = 12
SMALLEST_SHARE = 0.006  # of the picture: a smaller patch is noise
BACKGROUND_SHARE = 0.12  # of the border: a colour with more of it belongs to the background
MAX_OBJECTS = 8
SUREST = 99.9


def labels(image: Image.Image) -> list[SeenLabel]:
    """What can be measured, surest first."""
    scale = LONGER_SIDE / max(image.size)
    size = [max(SHORTEST_SIDE, round(side * scale)) for side in image.size]
    small = image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BOX)
    colours = named(small)
    luminance = np.asarray(small.convert("L"), dtype=np.float64) / 255.0
    objects = _foreground(colours)
    seen = [
        *_figure(colours),
        *_objects(objects),
        *_scene(colours, luminance),
        *_regions(colours),
        *_palette(colours),
        *_texture(luminance),
    ]
    return sorted((label for label in seen if label.confidence > 0), key=lambda label: -label.confidence)


def _share(parts: npt.NDArray[np.float64], *names: str) -> float:
    return float(sum(parts[COLOURS.index(name)] for name in names))


def _between(value: float, surely_not: float, surely: float) -> float:
    return max(0.0, min(SUREST, 100.0 * (value - surely_not) / (surely - surely_not)))


def _figure(colours: Indices) -> list[SeenLabel]:
    """The colours that the middle has more of than the sides: those of whatever stands there."""
    height, width = colours.shape
    lower = colours[height // 3 :]
    middle = shares(lower[:, int(width * 0.3) : int(width * 0.7)])
    sides = shares(np.concatenate([lower[:, : int(width * 0.15)], lower[:, int(width * 0.85) :]], axis=1))
    return [
        SeenLabel(f"{name} Figure", _between(float(middle[index] - sides[index]), 0.0, 0.15), (name,))
        for index, name in enumerate(COLOURS)
    ]


def _palette(colours: Indices) -> list[SeenLabel]:
    parts = shares(colours)
    return [
        SeenLabel(name, _between(float(parts[index]), 0.0, 0.3), ("Color",)) for index, name in enumerate(COLOURS)
    ] + [SeenLabel("Colorful", _between(float((parts > 0.04).sum()), 3, 9))]


def _regions(colours: Indices) -> list[SeenLabel]:
    rows, columns = (side // 3 for side in colours.shape)
    border = np.concatenate(
        [colours[:4].ravel(), colours[-4:].ravel(), colours[:, :4].ravel(), colours[:, -4:].ravel()]
    )
    regions = {
        "Background": border,
        "Center": colours[rows:-rows, columns:-columns],
        "Top": colours[:rows],
        "Bottom": colours[-rows:],
    }
    seen = []
    for place, pixels in regions.items():
        parts = shares(pixels)
        index = int(parts.argmax())
        name = COLOURS[index]
        seen.append(SeenLabel(f"{name} {place}", min(SUREST, 100.0 * float(parts[index])), (name,)))
    return seen


def _scene(colours: Indices, luminance: npt.NDArray[np.float64]) -> list[SeenLabel]:
    third = len(colours) // 3
    top, bottom = shares(colours[:third]), shares(colours[-third:])
    brightness = float(luminance.mean())
    return [
        SeenLabel("Sky", _between(_share(top, "Blue", "Turquoise") - _share(bottom, "Blue", "Turquoise"), 0.1, 0.6)),
        SeenLabel("Sunset", _between(_share(top, "Orange", "Red", "Pink"), 0.2, 0.8)),
        SeenLabel("Grass", _between(_share(bottom, "Green"), 0.2, 0.8), ("Plant",)),
        SeenLabel("Water", _between(_share(bottom, "Blue", "Turquoise"), 0.3, 0.9)),
        SeenLabel("Snow", _between(_share(bottom, "White") - _share(top, "White"), 0.2, 0.8)),
        SeenLabel("Ground", _between(_share(bottom, "Brown", "Beige"), 0.2, 0.8)),
        SeenLabel("Night", _between(0.45 - float(luminance[:third].mean()), 0.0, 0.3)),
        SeenLabel("Dark", _between(0.5 - brightness, 0.0, 0.3)),
        SeenLabel("Bright", _between(brightness, 0.5, 0.9)),
    ]


def _texture(luminance: npt.NDArray[np.float64]) -> list[SeenLabel]:
    down, right = np.diff(luminance, axis=0)[:, :-1], np.diff(luminance, axis=1)[:-1]
    edges = float((np.hypot(down, right) > 0.1).mean())
    return [
        SeenLabel("Busy", _between(edges, 0.05, 0.3)),
        SeenLabel("Plain", _between(0.12 - edges, 0.0, 0.1)),
        SeenLabel("High Contrast", _between(float(luminance.std()), 0.12, 0.32)),
        SeenLabel("Symmetry", _between(0.15 - float(np.abs(luminance - luminance[:, ::-1]).mean()), 0.0, 0.15)),
    ]


def _objects(found: list[Patch]) -> list[SeenLabel]:
    if not found:
        return []
    seen: dict[str, SeenLabel] = {}
    for patch in found:
        name, confidence = _shape(patch)
        label = SeenLabel(f"{COLOURS[patch.colour]} {name}", confidence, (name, COLOURS[patch.colour]), (patch.box,))
        earlier = seen.get(label.name)
        if earlier:
            surest = max(earlier.confidence, confidence)
            label = SeenLabel(label.name, surest, label.parents, earlier.boxes + label.boxes)
        seen[label.name] = label
    largest = found[0]
    middle_x = largest.box.left + largest.box.width / 2
    middle_y = largest.box.top + largest.box.height / 2
    aspect = largest.box.height / largest.box.width
    return [
        *seen.values(),
        SeenLabel("Large Object", _between(largest.share, 0.05, 0.35), (), (largest.box,)),
        SeenLabel("Small Object", _between(0.1 - largest.share, 0.0, 0.08), (), (largest.box,)),
        SeenLabel("Tall Object", _between(math.log2(aspect), 0.2, 1.0), (), (largest.box,)),
        SeenLabel("Wide Object", _between(-math.log2(aspect), 0.2, 1.0), (), (largest.box,)),
        SeenLabel("Object Left", _between(0.5 - middle_x, 0.0, 0.25), (), (largest.box,)),
        SeenLabel("Object Right", _between(middle_x - 0.5, 0.0, 0.25), (), (largest.box,)),
        SeenLabel("Object Above", _between(0.5 - middle_y, 0.0, 0.25), (), (largest.box,)),
        SeenLabel("Object Below", _between(middle_y - 0.5, 0.0, 0.25), (), (largest.box,)),
        SeenLabel("Many Objects", _between(len(found), 2, 6)),
    ]


def _shape(patch: Patch) -> tuple[str, float]:
    shapes = {
        "Circle": _between(patch.roundness, 0.7, 0.92),
        "Rectangle": _between(patch.fill, 0.82, 0.97),
        "Triangle": _between(0.12 - abs(patch.fill - 0.5), 0.0, 0.1) if patch.roundness > 0.3 else 0.0,
    }
    name = max(shapes, key=lambda shape: shapes[shape])
    if shapes[name] < 30:
        return "Shape", _between(patch.share, 0.0, 0.02)
    return name, shapes[name]


def _foreground(colours: Indices) -> list[Patch]:
    edge = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    background = np.flatnonzero(shares(edge) >= BACKGROUND_SHARE)
    return patches(~np.isin(colours, background), colours, SMALLEST_SHARE)[:MAX_OBJECTS]
