"""Eyes, mouths and cheeks: one face for every subject, in six moods."""

from typing import NamedTuple

from examples.pen import Colour, Pen, Point

MOODS = ("calm", "joy", "sleepy", "shock", "cry", "angry")
INK = "#2a2430"
TEAR = "#7cc8f5"
ROSE = "#f79a9a"
TONGUE = "#f0707c"


class Anchors(NamedTuple):
    """Where things are put on a subject, in the subject's own frame (origin at its feet)."""

    head: Point  # top of the head
    neck: Point
    hand: Point
    eyes: Point  # between the eyes
    eye_gap: float  # from the middle to one eye


def eyes(pen: Pen, middle: Point, gap: float, mood: str, size: float = 6, ink: Colour = INK) -> None:
    """Two eyes, `gap` to either side of the middle."""
    x, y = middle
    for side in (-1, 1):
        eye(pen, (x + side * gap, y), side, mood, size, ink)


def eye(pen: Pen, at: Point, side: int, mood: str, size: float = 6, ink: Colour = INK) -> None:
    """One eye; its outer corner lies to the left (side -1) or to the right (1)."""
    x, y = at
    if mood == "joy":
        pen.arc(x, y + size * 0.5, size * 1.1, size * 1.2, 200, 340, ink, size * 0.55)
    elif mood == "sleepy":
        pen.arc(x, y - size * 0.3, size * 1.1, size * 0.8, 20, 160, ink, size * 0.5)
    elif mood == "shock":
        pen.ellipse(x, y, size * 1.55, size * 1.7, ink)
        pen.ellipse(x, y, size * 1.25, size * 1.4, "white")
        pen.ellipse(x, y, size * 0.5, size * 0.55, ink)
    else:
        if mood == "cry":
            pen.box(x - size * 0.6, y, x + size * 0.6, y + size * 3.4, TEAR, size * 0.6)
        pen.ellipse(x, y, size, size * 1.15, ink)
        pen.ellipse(x - size * 0.3, y - size * 0.4, size * 0.35, size * 0.4, "white")
        if mood == "angry":
            pen.line(
                [(x - side * size * 1.1, y - size * 1.2), (x + side * size * 1.2, y - size * 2.3)], ink, size * 0.6
            )
        if mood == "cry":
            pen.line([(x - side * size, y - size * 2.4), (x + side * size, y - size * 1.8)], ink, size * 0.45)


def mouth(pen: Pen, at: Point, mood: str, size: float = 10, ink: Colour = INK) -> None:
    """A mouth about `size` wide to either side."""
    x, y = at
    if mood == "joy":
        pen.pie(x, y - size * 0.2, size, size, 0, 180, ink)
        pen.pie(x, y + size * 0.3, size * 0.6, size * 0.42, 0, 180, TONGUE)
    elif mood == "shock":
        pen.ellipse(x, y + size * 0.3, size * 0.5, size * 0.7, ink)
    elif mood == "sleepy":
        pen.ellipse(x, y + size * 0.1, size * 0.28, size * 0.32, ink)
    elif mood == "cry":
        wave = [(-0.9, 0.2), (-0.45, -0.15), (0, 0.2), (0.45, -0.15), (0.9, 0.2)]
        pen.curve([(x + dx * size, y + dy * size) for dx, dy in wave], ink, size * 0.26)
    elif mood == "angry":
        pen.arc(x, y + size * 0.7, size * 0.8, size * 0.7, 210, 330, ink, size * 0.28)
    else:
        pen.arc(x, y - size * 0.4, size * 0.8, size * 0.7, 25, 155, ink, size * 0.28)


def cheeks(pen: Pen, middle: Point, gap: float, size: float = 7, fill: Colour = ROSE) -> None:
    """Two red cheeks, `gap` to either side of the middle."""
    for side in (-1, 1):
        pen.ellipse(middle[0] + side * gap, middle[1], size, size * 0.65, fill)
