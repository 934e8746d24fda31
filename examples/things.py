"""The things that came alive, each about 170 units high with its feet at the origin."""

from examples.face import INK, Anchors, cheeks, eyes, mouth
from examples.pen import Pen


def robot(pen: Pen, mood: str) -> Anchors:
    """Grey, with a screen for a face."""
    steel, dark, light = "#9fb4c8", "#6f859c", "#cfdbe6"
    for side in (-1, 1):
        pen.box(side * 20 - 9, -34, side * 20 + 9, -6, dark, 3)
        pen.box(side * 22 - 18, -12, side * 22 + 18, 0, "#55687c", 6)
        pen.curve([(side * 40, -80), (side * 62, -68), (side * 62, -46)], dark, 11)
        pen.arc(side * 62, -36, 10, 10, 130, 410, "#55687c", 6)
    pen.box(-42, -96, 42, -28, steel, 10)
    pen.box(-28, -84, 28, -42, light, 5)
    pen.ellipse(-15, -71, 5, 5, "#e2574c")
    pen.ellipse(0, -71, 5, 5, "#f6c343")
    pen.ellipse(15, -71, 5, 5, "#4fae6b")
    pen.line([(-20, -52), (-10, -52), (-5, -60), (2, -47), (7, -52), (20, -52)], "#3a7bd5", 2.6)
    pen.box(-14, -104, 14, -94, dark, 2)
    pen.line([(0, -160), (0, -176)], dark, 5)
    pen.ellipse(0, -180, 8, 8, "#e2574c")
    for side in (-1, 1):
        pen.box(side * 54 - 7, -140, side * 54 + 7, -118, dark, 4)
    pen.box(-52, -162, 52, -100, steel, 14)
    pen.box(-42, -152, 42, -110, "#22304a", 10)
    glow = "#7ff0e6"
    eyes(pen, (0, -134), 20, mood, 6.5, glow) if mood != "shock" else _lamps(pen, glow)
    mouth(pen, (0, -119), mood, 7, glow)
    return Anchors((0, -168), (0, -94), (64, -40), (0, -134), 20)


def _lamps(pen: Pen, glow: str) -> None:
    for x in (-20, 20):
        pen.ellipse(x, -134, 10, 10, glow)
        pen.ellipse(x, -134, 5, 5, "#22304a")


def vending(pen: Pen, mood: str) -> Anchors:
    """A red vending machine with legs."""
    red, dark = "#d93a3f", "#aa2a31"
    for side in (-1, 1):
        pen.curve([(side * 46, -66), (side * 66, -56), (side * 66, -40)], dark, 9)
        pen.ellipse(side * 66, -36, 8, 8, "#fdf6ee")
        pen.box(side * 24 - 8, -16, side * 24 + 8, -2, dark)
        pen.ellipse(side * 26, -4, 14, 6, "#2b2320")
    pen.box(-52, -180, 52, -12, red, 8)
    pen.box(40, -172, 52, -20, dark, 4)
    pen.box(-44, -172, 44, -94, "#fdf6ee", 4)
    colours = ("#3a7bd5", "#4fae6b", "#f6a623", "#7a4b2a", "#e86a92", "#30b3b3")
    for row, top in enumerate((-168, -132)):
        for column in range(6):
            x = -38 + column * 13
            pen.box(x, top, x + 9, top + 22, colours[(column + row * 2) % 6], 3)
            pen.box(x + 1, top + 8, x + 8, top + 13, "white")
            pen.box(x, top + 26, x + 9, top + 30, "#3a7bd5" if row == 0 else "#e2574c", 1.5)
    pen.box(26, -86, 40, -70, "#3a3a44", 3)
    pen.line([(33, -82), (33, -74)], "#f6c343", 2.6)
    pen.box(-38, -36, 38, -20, "#3a2a2e", 5)
    pen.box(-34, -34, 34, -30, "#5c4a50", 2)
    eyes_shut = mood in ("joy", "sleepy")
    if not eyes_shut:
        for x in (-24, 12):
            pen.ellipse(x, -70, 12, 12, "#fdf6ee")
    eyes(pen, (-6, -70), 18, mood, 6, "white" if eyes_shut else INK)
    cheeks(pen, (-6, -56), 28, 5, "#ff9a8f")
    mouth(pen, (-6, -52), mood, 8, INK if mood == "joy" else "white")
    return Anchors((0, -180), (-6, -44), (68, -38), (-6, -70), 18)


def snowman(pen: Pen, mood: str) -> Anchors:
    """Two balls, a bucket, a carrot."""
    white, shade, edge = "#fbfdff", "#d9e6f3", "#a9bfd6"
    for side in (-1, 1):
        pen.curve([(side * 44, -72), (side * 66, -84), (side * 84, -100)], "#7a4b2a", 5)
        pen.line([(side * 74, -91), (side * 88, -88)], "#7a4b2a", 3.5)
        pen.line([(side * 76, -93), (side * 76, -108)], "#7a4b2a", 3.5)
    for y, rx, ry in ((-48, 56, 50), (-118, 45, 42)):
        pen.ellipse(0, y, rx + 1.6, ry + 1.6, edge)
        pen.ellipse(0, y, rx, ry, white)
        pen.blob(
            [(-rx, y), (-rx * 0.75, y + ry * 0.62), (0, y + ry), (rx * 0.6, y + ry * 0.75), (-rx * 0.3, y + ry * 0.7)],
            shade,
        )
    for y in (-62, -44, -26):
        pen.ellipse(0, y, 5, 5, "#4a4654")
    pen.polygon([(-36, -148), (36, -148), (27, -188), (-27, -188)], "#3f8fd0")
    pen.box(-40, -154, 40, -144, "#2f72aa", 4)
    pen.arc(0, -150, 34, 24, 10, 60, "#c8d2dc", 2)
    eyes(pen, (0, -124), 18, mood, 6)
    cheeks(pen, (0, -106), 28, 7)
    pen.blob([(-4, -114), (4, -119), (32, -108), (2, -108)], "#f28a2e")
    mouth(pen, (-2, -98), mood, 8)
    return Anchors((0, -188), (0, -80), (84, -100), (0, -124), 18)
