"""The names of a picture's colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

GREYS = ("Black", "White", "Gray")
HUES = ("Red", "Orange", "Yellow", "Green", "Turquoise", "Blue", "Purple", "Pink")  # once around the circle
COLOURS = (*GREYS, *HUES, "Brown", "Beige")
_HUE_ENDS = (11, 28, 46, 110, 138, 180, 213, 240)  # of 256, for each of HUES; above the last it is red again

Indices = npt.NDArray[np.int64]


def named(image: Image.Image) -> Indices:
    """(height, width): the index in COLOURS of each pixel of an RGB picture."""
    hue, saturation, value = (plane.astype(np.int64) for plane in np.moveaxis(np.asarray(image.convert("HSV")), -1, 0))
    name = np.digitize(hue, _HUE_ENDS) % len(_HUE_ENDS) + len(GREYS)
    red, orange = name == COLOURS.index("Red"), name == COLOURS.index("Orange")
    name = np.where(red & (saturation < 130) & (value > 180), COLOURS.index("Pink"), name)
    name = np.where(orange & (saturation < 110) & (value > 170), COLOURS.index("Beige"), name)
    name = np.where((orange | (red & (saturation < 205))) & (value < 170), COLOURS.index("Brown"), name)
    grey = np.where(value > 205, COLOURS.index("White"), COLOURS.index("Gray"))
    name = np.where(saturation < 36, grey, name)
    return np.where(value < 48, COLOURS.index("Black"), name)


def shares(colours: Indices) -> npt.NDArray[np.float64]:
    """(colours,): the part of the pixels that each colour has."""
    return np.bincount(colours.ravel(), minlength=len(COLOURS)) / colours.size
