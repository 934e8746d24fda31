"""What a subject wears or holds, drawn in the subject's own frame at its anchors."""

from collections.abc import Callable

from examples.face import INK, Anchors
from examples.pen import Pen


def umbrella(pen: Pen, on: Anchors) -> None:
    """Held open above the head."""
    x, y = on.hand
    top = min(on.head[1] - 6, y - 70)
    pen.line([(x, y + 14), (x, top)], "#5a4a42", 4)
    pen.arc(x - 6, y + 14, 6, 7, 0, 180, "#5a4a42", 4)
    pen.pie(x, top + 26, 58, 46, 180, 360, "#f2688c")
    pen.pie(x, top + 26, 22, 46, 180, 360, "#ff93ae")
    for part in range(4):
        pen.pie(x - 43.5 + part * 29, top + 27, 14.5, 8, 180, 360, "#c9456b")
    pen.line([(x, top - 20), (x, top - 27)], "#5a4a42", 4)


def tie(pen: Pen, on: Anchors) -> None:
    """Blue, with yellow stripes."""
    x, y = on.neck
    pen.polygon([(x - 8, y - 4), (x + 8, y - 4), (x + 5, y + 8), (x - 5, y + 8)], "#1d4fa0")
    pen.polygon([(x - 5, y + 8), (x + 5, y + 8), (x + 11, y + 42), (x, y + 54), (x - 11, y + 42)], "#2b6bd0")
    for step in (0, 13, 26):
        pen.line([(x - 6 - step * 0.12, y + 22 + step * 0.8), (x + 7, y + 14 + step * 0.8)], "#ffd85c", 3)


def scarf(pen: Pen, on: Anchors) -> None:
    """Red, around the neck."""
    x, y = on.neck
    pen.curve([(x - 30, y - 8), (x, y + 2), (x + 30, y - 8)], "#e0485a", 16)
    pen.blob([(x + 10, y - 2), (x + 26, y - 6), (x + 32, y + 34), (x + 14, y + 38)], "#c93a4c")
    for step in (10, 22):
        pen.line([(x + 14, y + step), (x + 28, y + step - 2)], "#fff1dc", 3.4)


def sunglasses(pen: Pen, on: Anchors) -> None:
    """Over the eyes, whatever mood they show."""
    x, y = on.eyes
    gap = max(on.eye_gap, 13)
    for side in (-1, 1):
        pen.blob(
            [
                (x + side * gap * 0.18, y - 8),
                (x + side * gap * 1.85, y - 9),
                (x + side * gap * 1.6, y + 11),
                (x + side * gap * 0.5, y + 11),
            ],
            INK,
        )
        pen.line([(x + side * gap - 5, y + 4), (x + side * gap + 3, y - 5)], "#8d94b8", 2.6)
    pen.line([(x - gap * 0.5, y - 6), (x + gap * 0.5, y - 6)], INK, 4)


def party_hat(pen: Pen, on: Anchors) -> None:
    """A cone with dots."""
    x, y = on.head
    pen.polygon([(x - 22, y + 10), (x + 22, y + 10), (x, y - 40)], "#8e5bd0")
    for dx, dy, fill in ((-9, 2, "#ffd85c"), (8, 3, "#7ee0ff"), (0, -12, "#ff93ae"), (-3, -25, "#ffd85c")):
        pen.ellipse(x + dx, y + dy, 4, 4, fill)
    pen.ellipse(x, y - 40, 8, 8, "#ffd85c")


def crown(pen: Pen, on: Anchors) -> None:
    """Golden."""
    x, y = on.head
    points = [(-26, 12), (-30, -22), (-14, -6), (0, -30), (14, -6), (30, -22), (26, 12)]
    pen.polygon([(x + dx, y + dy) for dx, dy in points], "#f8c832")
    pen.box(x - 26, y + 4, x + 26, y + 12, "#dca41c")
    for dx, dy, fill in ((-30, -23, "#e2574c"), (0, -31, "#3a7bd5"), (30, -23, "#e2574c")):
        pen.ellipse(x + dx, y + dy, 5, 5, fill)


def balloon(pen: Pen, on: Anchors) -> None:
    """Red, on a string."""
    x, y = on.hand
    pen.curve([(x, y), (x + 8, y - 24), (x + 2, y - 50)], "#5a4a42", 2)
    pen.blob(
        [(x + 2, y - 112), (x + 28, y - 92), (x + 20, y - 60), (x + 2, y - 48), (x - 16, y - 60), (x - 24, y - 92)],
        "#ff5d73",
    )
    pen.polygon([(x - 4, y - 44), (x + 8, y - 44), (x + 2, y - 51)], "#d9405a")
    pen.ellipse(x - 9, y - 92, 5, 9, "#ffb0bc", turn=24)


def ramen(pen: Pen, on: Anchors) -> None:
    """A steaming bowl in front of the feet."""
    x, y = on.hand[0] * 0.3, -26
    for side in (-9, 6):
        pen.curve(
            [(x + side, y - 20), (x + side - 5, y - 30), (x + side + 4, y - 40), (x + side, y - 48)], "#fffdf4", 4
        )
    pen.ellipse(x, y - 6, 42, 12, "#fff7ea")
    pen.ellipse(x, y - 6, 37, 9, "#e0a050")
    for dx in (-20, -8, 6):
        pen.curve([(x + dx, y - 6), (x + dx + 8, y - 10), (x + dx + 16, y - 5)], "#ffe39a", 3)
    pen.ellipse(x + 18, y - 9, 9, 6, "#ffffff")
    pen.ellipse(x + 18, y - 9, 4, 3, "#f28a2e")
    pen.box(x - 31, y - 20, x - 17, y - 4, "#2f5a3f", 1)
    pen.polygon([(x - 42, y - 5), (x + 42, y - 5), (x + 24, y + 26), (x - 24, y + 26)], "#d8404a")
    pen.line([(x - 39, y + 1), (x + 39, y + 1)], "#fff7ea", 3)
    for side in (0, 7):
        pen.line([(x + 14 + side, y - 10), (x + 46 + side, y - 44)], "#8a5a34", 3)


def laptop(pen: Pen, on: Anchors) -> None:
    """Seen from behind, in front of the feet."""
    x = on.hand[0] * 0.2
    pen.box(x - 40, -56, x + 40, -6, "#4b515d", 5)
    pen.ellipse(x, -31, 8, 8, "#c9d0da")
    pen.box(x - 50, -8, x + 50, 2, "#a3abb8", 4)


PROPS: dict[str, Callable[[Pen, Anchors], None]] = {
    "umbrella": umbrella,
    "tie": tie,
    "scarf": scarf,
    "sunglasses": sunglasses,
    "party_hat": party_hat,
    "crown": crown,
    "balloon": balloon,
    "ramen": ramen,
    "laptop": laptop,
}
