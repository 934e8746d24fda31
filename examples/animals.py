"""The animals, each about 170 units high with its feet at the origin."""

from examples.face import INK, Anchors, cheeks, eye, eyes, mouth
from examples.pen import Pen


def penguin(pen: Pen, mood: str) -> Anchors:
    """Navy and white, flippers at its sides."""
    navy, navy_light = "#2c3a5e", "#3d4f7c"
    for side in (-1, 1):
        pen.ellipse(side * 22, -5, 19, 9, "#f59b23")
        pen.ellipse(side * 56, -72, 12, 40, navy_light, turn=side * -24)
    pen.blob([(0, -168), (44, -146), (56, -88), (52, -26), (0, -6), (-52, -26), (-56, -88), (-44, -146)], navy)
    pen.blob([(0, -98), (36, -90), (42, -50), (30, -18), (0, -11), (-30, -18), (-42, -50), (-36, -90)], "#fffaf0")
    for side in (-1, 1):
        pen.ellipse(side * 18, -120, 21, 25, "#fffaf0")
    eyes(pen, (0, -124), 17, mood, 6)
    cheeks(pen, (0, -106), 28, 7)
    pen.blob([(-13, -110), (0, -117), (13, -110), (0, -98)], "#f59b23")
    pen.curve([(-12, -110), (0, -107), (12, -110)], "#c46f0c", 1.8)
    return Anchors((0, -168), (0, -92), (66, -48), (0, -124), 17)


def cat(pen: Pen, mood: str) -> Anchors:
    """An orange tabby, sitting."""
    fur, dark, cream = "#f2a03d", "#d2761c", "#fff1dc"
    pen.curve([(36, -20), (74, -26), (84, -62), (70, -88)], fur, 17)
    pen.curve([(76, -84), (70, -88)], dark, 17)
    pen.blob([(0, -92), (38, -72), (50, -30), (40, -4), (0, 0), (-40, -4), (-50, -30), (-38, -72)], fur)
    pen.blob([(0, -80), (22, -62), (24, -24), (0, -10), (-24, -24), (-22, -62)], cream)
    for side in (-1, 1):
        pen.ellipse(side * 18, -6, 17, 10, cream)
        pen.polygon([(side * 50, -122), (side * 48, -176), (side * 12, -150)], fur)
        pen.polygon([(side * 43, -134), (side * 42, -162), (side * 22, -147)], "#f7b7a3")
    pen.ellipse(0, -112, 57, 46, fur)
    for dx, length in ((-15, 16), (0, 22), (15, 16)):
        pen.line([(dx, -153), (dx * 0.8, -153 + length)], dark, 6)
    for side in (-1, 1):
        pen.ellipse(side * 12, -94, 16, 13, cream)
        pen.line([(side * 50, -112), (side * 38, -109)], dark, 5)
        for dy in (-4, 5):
            pen.line([(side * 30, -94 + dy / 2), (side * 62, -96 + dy * 1.6)], "#8a5a2c", 1.6)
    eyes(pen, (0, -116), 25, mood, 7)
    cheeks(pen, (0, -98), 36, 7)
    pen.blob([(-6, -102), (6, -102), (0, -95)], "#d9535f")
    mouth(pen, (0, -88), mood, 8)
    return Anchors((0, -154), (0, -74), (38, -40), (0, -116), 25)


def shark(pen: Pen, mood: str) -> Anchors:
    """Seen from the side, swimming in whatever there is."""
    blue, dark, belly = "#5d8fb8", "#47749b", "#f3f8fb"
    with pen.at(0, -84, turn=-8):
        pen.blob([(-66, 0), (-96, -20), (-128, -62), (-112, -10), (-126, 36), (-92, 14)], dark)
        pen.polygon([(-14, -44), (-24, -92), (34, -46)], dark)
        pen.blob([(112, -6), (78, -40), (18, -54), (-44, -38), (-88, -6), (-44, 34), (18, 52), (76, 40)], blue)
        pen.blob([(106, 4), (70, 10), (18, 14), (-44, 10), (-82, 0), (-40, 36), (18, 53), (74, 42)], belly)
        pen.blob([(-8, 26), (18, 24), (30, 40), (6, 84), (-14, 74), (-2, 50)], dark)
        for dx in (0, 9, 18):
            pen.curve([(-8 + dx, -16), (-12 + dx, -2), (-8 + dx, 12)], dark, 2.4)
        pen.blob([(40, 12), (66, 16), (100, 4), (90, 26), (66, 38), (46, 30)], "#8f2f3f")
        for step in range(5):
            x = 44 + step * 11
            pen.polygon([(x, 12 + (step < 3) * 2), (x + 10, 13 - max(0, step - 2) * 3), (x + 5, 24)], "white")
        for step in range(4):
            pen.polygon([(50 + step * 10, 35), (58 + step * 10, 34), (54 + step * 10, 26)], "white")
        pen.ellipse(62, -14, 12, 13, "white")
        if mood in ("calm", "cry", "angry"):
            pen.ellipse(65, -13, 7, 8, INK)
            pen.ellipse(62, -16, 2.6, 2.8, "white")
            if mood == "cry":
                pen.box(58, -4, 67, 22, "#7cc8f5", 4)
            tilt = {"angry": 7, "cry": -6}.get(mood, 0)
            if tilt:
                pen.line([(50, -27 - tilt / 2), (76, -26 + tilt)], INK, 4)
        elif mood == "shock":
            pen.ellipse(63, -14, 4, 4.4, INK)
        else:
            pen.ellipse(62, -14, 13, 14, blue)
            low, high = (200, 340) if mood == "joy" else (20, 160)
            pen.arc(62, -10 if mood == "joy" else -17, 10, 9, low, high, INK, 4)
        pen.ellipse(36, 0, 8, 5, "#f2a6a6")
    return Anchors((42, -142), (14, -54), (16, -22), (60, -106), 0)


def bear(pen: Pen, mood: str) -> Anchors:
    """Brown, standing."""
    brown, dark, tan = "#8f5b34", "#74462a", "#f0d2a8"
    for side in (-1, 1):
        pen.ellipse(side * 26, -7, 24, 12, dark)
        pen.ellipse(side * 52, -64, 15, 34, dark, turn=side * -22)
        pen.ellipse(side * 42, -152, 19, 19, brown)
        pen.ellipse(side * 42, -152, 10, 10, tan)
    pen.blob([(0, -98), (44, -82), (56, -40), (42, -8), (0, -4), (-42, -8), (-56, -40), (-44, -82)], brown)
    pen.ellipse(0, -46, 34, 36, tan)
    pen.ellipse(0, -118, 57, 48, brown)
    pen.ellipse(0, -101, 25, 19, tan)
    eyes(pen, (0, -122), 25, mood, 6.5)
    cheeks(pen, (0, -104), 40, 8, "#d97c62")
    pen.ellipse(0, -111, 9, 6.5, INK)
    mouth(pen, (0, -96), mood, 9)
    return Anchors((0, -166), (0, -78), (60, -42), (0, -122), 25)


def octopus(pen: Pen, mood: str) -> Anchors:
    """Red, with a twisted towel around its head."""
    red, dark, pale = "#e2574c", "#bd3d38", "#f9b3a4"
    for dx, reach, lift in ((-20, -92, -34), (20, 92, -34), (-16, -74, -4), (16, 74, -4)):
        pen.curve([(dx, -50), (reach * 0.7, -20), (reach, -4 + lift), (reach * 1.08, -22 + lift)], dark, 19)
    for dx in (-40, -14, 14, 40):
        bend = 1 if dx > 0 else -1
        pen.curve([(dx * 0.8, -56), (dx, -20), (dx + bend * 8, -10), (dx + bend * 22, -14)], red, 20)
        pen.ellipse(dx + bend * 6, -13, 4, 3, pale)
    pen.blob([(0, -172), (52, -152), (66, -104), (48, -62), (0, -46), (-48, -62), (-66, -104), (-52, -152)], red)
    pen.blob([(-36, -150), (-16, -162), (-22, -150), (-38, -136)], "#f08a7c")
    pen.curve([(-58, -132), (0, -142), (58, -132)], "#ffffff", 13)
    for x in range(-48, 49, 24):
        pen.line([(x - 5, -132 - (52 - abs(x)) * 0.1), (x + 5, -141 - (52 - abs(x)) * 0.1)], "#4a78c8", 4)
    pen.blob([(54, -134), (76, -150), (80, -138), (66, -132), (80, -120), (70, -114)], "#ffffff")
    eyes(pen, (0, -104), 25, mood, 8)
    cheeks(pen, (0, -86), 42, 8, "#ff9d8a")
    pen.ellipse(0, -80, 17, 14, dark)
    pen.ellipse(0, -80, 12, 9.5, pale)
    pen.ellipse(0, -80, 6, 5, "#7d1f26")
    return Anchors((0, -172), (0, -56), (98, -56), (0, -104), 25)


def dinosaur(pen: Pen, mood: str) -> Anchors:
    """A green tyrannosaur with short arms, seen from the side."""
    green, dark, belly = "#4fae6b", "#358a54", "#f3ecb8"
    spikes = [(-86, -24), (-66, -50), (-50, -76), (-38, -104), (-26, -132), (-12, -158)]
    for x, y in spikes:
        pen.blob([(x - 16, y - 8), (x + 2, y - 14), (x + 12, y + 10), (x - 4, y + 10)], "#f0803c")
    pen.blob(
        [
            *((-124, -8), (-84, -24), (-50, -62), (-34, -110), (-22, -150), (16, -172), (64, -166), (84, -142)),
            *((74, -118), (40, -108), (38, -90), (48, -56), (40, -18), (0, -6), (-50, -8), (-90, -6)),
        ],
        green,
    )
    pen.blob([(30, -102), (38, -88), (48, -56), (40, -20), (10, -10), (6, -50), (14, -86)], belly)
    for x in (-24, 26):
        pen.blob([(x - 18, -38), (x + 12, -40), (x + 18, -14), (x + 24, 0), (x - 18, 0), (x - 22, -18)], dark)
        for toe in (4, 13, 22):
            pen.ellipse(x + toe - 2, -3, 4, 3.4, "#fff6dc")
    pen.curve([(16, -86), (34, -78), (46, -84)], dark, 9)
    pen.curve([(28, -74), (46, -68), (56, -76)], green, 9)
    pen.curve([(46, -121), (66, -121), (80, -133)], "#22643a", 3)
    for x in (54, 64, 74):
        pen.polygon([(x - 4, -121 - (x - 54) * 0.2), (x + 4, -123 - (x - 54) * 0.3), (x, -114)], "white")
    pen.ellipse(77, -151, 2.6, 3.4, "#22643a")
    if mood not in ("joy", "sleepy"):
        pen.ellipse(34, -147, 13, 14, "white")
    eye(pen, (35, -146), -1, mood, 8)
    pen.ellipse(40, -126, 8, 5, "#f2a08a")
    return Anchors((24, -171), (20, -98), (58, -76), (40, -146), 0)


def giraffe(pen: Pen, mood: str) -> Anchors:
    """Seen from the side, looking at us."""
    yellow, brown, cream = "#f6c650", "#b06a2c", "#fff0cc"
    pen.curve([(-58, -74), (-74, -60), (-72, -42)], yellow, 5)
    pen.ellipse(-72, -40, 6, 9, brown)
    for x, shade in ((-44, "#dcab38"), (28, "#dcab38"), (-30, yellow), (14, yellow)):
        pen.box(x - 7, -50, x + 7, 0, shade, 5)
        pen.box(x - 8, -9, x + 8, 0, brown, 3)
    pen.blob([(-62, -72), (-30, -90), (8, -88), (36, -78), (38, -50), (-10, -42), (-54, -46)], yellow)
    pen.blob([(4, -78), (20, -110), (26, -164), (52, -166), (46, -104), (36, -58)], yellow)
    for x, y, size in ((-44, -66, 11), (-18, -72, 12), (-30, -54, 7), (8, -64, 10), (24, -86, 8), (32, -112, 8)):
        pen.blob(
            [(x - size, y), (x - size * 0.3, y - size), (x + size, y - size * 0.4), (x + size * 0.5, y + size)], brown
        )
    pen.blob([(32, -142), (38, -148), (45, -142), (40, -134)], brown)
    for x in (26, 52):
        pen.line([(x, -192), (x, -206)], yellow, 6)
        pen.ellipse(x, -209, 6.5, 6.5, brown)
    pen.ellipse(6, -186, 14, 7, yellow, turn=20)
    pen.ellipse(72, -186, 14, 7, yellow, turn=-20)
    pen.blob([(39, -202), (64, -190), (62, -164), (54, -146), (39, -142), (24, -146), (16, -164), (14, -190)], yellow)
    pen.ellipse(39, -153, 22, 15, cream)
    for x in (32, 46):
        pen.ellipse(x, -158, 2.2, 3, brown)
    eyes(pen, (39, -178), 15, mood, 6)
    cheeks(pen, (39, -164), 23, 5.5)
    mouth(pen, (39, -149), mood, 6.5)
    return Anchors((39, -204), (28, -98), (36, -52), (39, -178), 15)
