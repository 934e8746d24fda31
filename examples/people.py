"""The people and the creatures that stand like people, each about 170 units high with its feet at the origin."""

from examples.face import INK, Anchors, cheeks, eyes, mouth
from examples.pen import Pen

SKIN = "#fcd7b6"


def salaryman(pen: Pen, mood: str) -> Anchors:
    """Glasses, suit, briefcase."""
    suit, dark, hair = "#41557f", "#2f3f61", "#2d2a2e"
    for side in (-1, 1):
        pen.box(side * 14 - 11, -40, side * 14 + 11, -4, dark, 3)
        pen.ellipse(side * 17, -5, 16, 7, "#2b2320")
        pen.curve([(side * 28, -84), (side * 42, -60), (side * 40, -40)], dark, 17)
        pen.ellipse(side * 40, -36, 8.5, 8.5, SKIN)
    pen.blob([(0, -98), (30, -92), (36, -62), (34, -32), (0, -29), (-34, -32), (-36, -62), (-30, -92)], suit)
    pen.polygon([(-16, -96), (16, -96), (0, -50)], "white")
    pen.polygon([(-5, -92), (5, -92), (8, -62), (0, -52), (-8, -62)], "#d8404a")
    pen.polygon([(-6, -97), (6, -97), (4, -88), (-4, -88)], "#b52f3a")
    for side in (-1, 1):
        pen.polygon([(side * 16, -97), (side * 26, -92), (0, -44), (side * 4, -54)], dark)
    pen.box(-58, -38, -24, -14, "#8a5a34", 4)
    pen.box(-58, -30, -24, -27, "#6d4526")
    pen.arc(-41, -38, 8, 7, 180, 360, "#6d4526", 3.5)
    pen.ellipse(0, -128, 44, 42, SKIN)
    pen.ellipse(-44, -126, 8, 9, SKIN)
    pen.ellipse(44, -126, 8, 9, SKIN)
    pen.blob([(-45, -130), (-42, -158), (-8, -176), (30, -170), (46, -146), (44, -128), (32, -148), (-14, -152)], hair)
    for side in (-1, 1):
        pen.arc(side * 18, -126, 14, 12, 0, 360, "#4b4b55", 2.6)
    pen.line([(-4, -126), (4, -126)], "#4b4b55", 2.6)
    eyes(pen, (0, -126), 18, mood, 5)
    cheeks(pen, (0, -110), 29, 6)
    mouth(pen, (0, -103), mood, 8)
    return Anchors((0, -173), (0, -88), (44, -38), (0, -126), 18)


def sumo(pen: Pen, mood: str) -> Anchors:
    """A wrestler in his belt, arms raised."""
    skin, shade, belt = "#fbd0a8", "#e9ad80", "#5b3f9c"
    for side in (-1, 1):
        pen.blob([(side * 8, -40), (side * 54, -44), (side * 52, -14), (side * 46, 0), (side * 18, 0)], skin)
        pen.curve([(side * 52, -92), (side * 80, -76), (side * 84, -104)], skin, 24)
        pen.ellipse(side * 84, -110, 13, 14, skin)
    pen.blob([(0, -112), (52, -102), (70, -62), (50, -28), (0, -22), (-50, -28), (-70, -62), (-52, -102)], skin)
    for side in (-1, 1):
        pen.arc(side * 24, -86, 20, 10, 20, 160, shade, 3)
    pen.ellipse(0, -58, 3, 3.6, shade)
    pen.blob([(-64, -44), (0, -36), (64, -44), (56, -24), (0, -15), (-56, -24)], belt)
    pen.blob([(-15, -36), (15, -36), (12, -4), (0, 0), (-12, -4)], "#49307f")
    for x in (-34, -24, 24, 34):
        pen.line([(x, -23), (x * 1.06, -8)], "#f0d264", 2.6)
    pen.ellipse(0, -130, 39, 34, skin)
    pen.blob([(-39, -132), (-34, -154), (0, -166), (34, -154), (39, -132), (26, -148), (0, -152), (-26, -148)], INK)
    pen.blob([(-10, -162), (0, -182), (12, -174), (8, -160)], INK)
    pen.line([(-6, -163), (7, -163)], "#f3f3f3", 3)
    eyes(pen, (0, -132), 15, mood, 5)
    cheeks(pen, (0, -118), 25, 8)
    mouth(pen, (0, -112), mood, 7)
    return Anchors((0, -170), (0, -100), (86, -112), (0, -132), 15)


def ninja(pen: Pen, mood: str) -> Anchors:
    """Only the eyes to be seen, a sword on the back."""
    black, dark, scarf = "#3b3954", "#2a2840", "#d9414e"
    with pen.at(34, -92, turn=40):
        pen.box(-5, -70, 5, 20, "#6b4a2e", 3)
        pen.box(-11, -46, 11, -40, "#e0b44c", 2)
    pen.blob([(-20, -90), (-56, -104), (-92, -92), (-80, -82), (-98, -70), (-58, -78), (-22, -76)], scarf)
    for side in (-1, 1):
        pen.blob([(side * 2, -36), (side * 34, -36), (side * 32, -8), (side * 26, 0), (side * 8, 0)], dark)
        pen.curve([(side * 28, -80), (side * 44, -62), (side * 22, -50)], dark, 17)
    pen.blob([(0, -96), (30, -90), (37, -56), (32, -26), (0, -22), (-32, -26), (-37, -56), (-30, -90)], black)
    pen.line([(-30, -90), (6, -60)], "#5a5878", 3)
    pen.line([(30, -90), (-6, -60)], "#5a5878", 3)
    pen.box(-36, -46, 36, -36, "#77759a", 3)
    pen.box(-9, -66, 9, -46, SKIN, 7)
    pen.line([(0, -52), (0, -70)], SKIN, 7)
    pen.blob([(-26, -92), (0, -98), (26, -92), (22, -80), (0, -76), (-22, -80)], scarf)
    pen.blob([(0, -174), (40, -158), (50, -126), (36, -94), (0, -84), (-36, -94), (-50, -126), (-40, -158)], black)
    pen.blob([(-44, -132), (0, -138), (44, -132), (40, -110), (0, -105), (-40, -110)], SKIN)
    pen.box(-40, -156, 40, -140, "#77759a", 4)
    pen.box(-19, -158, 19, -138, "#d5dae4", 4)
    pen.ellipse(0, -148, 4, 4, "#8a90a2")
    eyes(pen, (0, -122), 19, mood, 6)
    cheeks(pen, (0, -112), 32, 5)
    return Anchors((0, -173), (0, -84), (24, -52), (0, -122), 19)


def grandma(pen: Pen, mood: str) -> Anchors:
    """A bun, glasses, a white apron, a stick."""
    kimono, dark, apron, hair = "#9a6cb4", "#7b5093", "#fffdf6", "#c9c8d2"
    pen.ellipse(0, -5, 34, 8, "#6d4526")
    pen.blob([(0, -100), (40, -84), (48, -40), (44, -6), (0, -3), (-44, -6), (-48, -40), (-40, -84)], kimono)
    pen.polygon([(-15, -94), (15, -94), (0, -68)], "white")
    pen.blob([(-24, -72), (24, -72), (34, -44), (32, -13), (0, -10), (-32, -13), (-34, -44)], apron)
    pen.line([(-24, -72), (-32, -94)], apron, 6)
    pen.line([(24, -72), (32, -94)], apron, 6)
    pen.box(-14, -42, 14, -24, "#f4dce2", 4)
    pen.curve([(-34, -82), (-50, -60), (-36, -46)], dark, 18)
    pen.curve([(34, -82), (52, -66), (56, -52)], dark, 18)
    pen.line([(58, -50), (60, -2)], "#8a5a34", 5)
    pen.arc(51, -54, 8, 8, 190, 370, "#8a5a34", 5)
    pen.ellipse(58, -48, 8, 8, SKIN)
    pen.ellipse(-32, -44, 8, 8, SKIN)
    pen.ellipse(0, -170, 19, 16, hair)
    pen.line([(-24, -176), (22, -168)], "#d8404a", 3.5)
    pen.ellipse(0, -126, 46, 42, hair)
    pen.ellipse(0, -119, 39, 35, SKIN)
    pen.blob([(-40, -126), (-30, -152), (0, -160), (30, -152), (40, -126), (22, -142), (0, -146), (-22, -142)], hair)
    for side in (-1, 1):
        pen.arc(side * 17, -118, 13, 11, 0, 360, "#b0783a", 2.2)
        pen.arc(side * 30, -104, 5, 6, -60, 60, "#dda987", 1.6)
    for dy in (0, 5):
        pen.arc(0, -126 + dy - 8, 10, 3, 200, 340, "#dda987", 1.4)
    pen.line([(-4, -118), (4, -118)], "#b0783a", 2.2)
    eyes(pen, (0, -118), 17, "joy" if mood == "calm" else mood, 5)
    cheeks(pen, (0, -103), 25, 7)
    mouth(pen, (0, -97), mood, 8)
    return Anchors((0, -182), (0, -82), (58, -48), (0, -118), 17)


def ghost(pen: Pen, mood: str) -> Anchors:
    """A Japanese one: a triangle on the forehead, hands hanging, no feet."""
    white, shade, edge = "#f2efff", "#d5cff3", "#9a90cf"
    body = [(0, -166), (44, -150), (58, -104), (54, -60), (58, -22), (74, 4), (44, 2), (26, -14), (6, 2)]
    body += [(-14, -12), (-36, 0), (-54, -16), (-52, -60), (-58, -104), (-44, -150)]
    with pen.at(0, -86, scale=1.035):
        pen.blob([(x, y + 86) for x, y in body], edge)
    pen.blob(body, white)
    pen.blob([(-44, -148), (-58, -104), (-52, -60), (-54, -16), (-38, -2), (-42, -60), (-46, -104)], shade)
    for side in (-1, 1):
        pen.curve([(side * 44, -78), (side * 62, -86), (side * 66, -70)], edge, 20)
        pen.curve([(side * 44, -78), (side * 62, -86), (side * 66, -70)], white, 15)
    pen.curve([(-47, -136), (0, -146), (47, -136)], "#ffffff", 8)
    pen.curve([(-49, -131), (0, -141), (49, -131)], edge, 1.6)
    pen.polygon([(-17, -138), (17, -138), (0, -176)], edge)
    pen.polygon([(-14, -140), (14, -140), (0, -171)], "#ffffff")
    eyes(pen, (0, -114), 19, mood, 6.5)
    cheeks(pen, (0, -98), 32, 8, "#f5b3cf")
    mouth(pen, (0, -92), mood, 10)
    return Anchors((0, -170), (0, -76), (70, -72), (0, -114), 19)


def alien(pen: Pen, mood: str) -> Anchors:
    """Green, large black eyes, feelers."""
    green, dark, suit = "#9fdc4a", "#74b02c", "#c9cdda"
    for side in (-1, 1):
        pen.curve([(side * 16, -158), (side * 22, -178), (side * 34, -184)], dark, 4)
        pen.ellipse(side * 35, -185, 7, 7, "#f6d743")
        pen.box(side * 13 - 8, -34, side * 13 + 8, -4, suit, 4)
        pen.ellipse(side * 15, -5, 14, 7, "#8088a0")
    pen.curve([(-20, -66), (-38, -54), (-34, -36)], suit, 12)
    pen.curve([(20, -66), (44, -70), (52, -90)], suit, 12)
    pen.ellipse(-34, -32, 8, 8, green)
    for turn in (-30, 0, 30):
        pen.ellipse(54 + turn * 0.22, -100 + abs(turn) * 0.08, 3.6, 9, green, turn=turn)
    pen.ellipse(53, -93, 8, 8, green)
    pen.blob([(0, -82), (24, -74), (27, -48), (22, -26), (0, -22), (-22, -26), (-27, -48), (-24, -74)], suit)
    pen.ellipse(0, -52, 11, 11, "#5b6bd0")
    pen.ellipse(0, -52, 6, 6, "#f6d743")
    pen.blob([(0, -170), (48, -156), (62, -122), (40, -88), (0, -74), (-40, -88), (-62, -122), (-48, -156)], green)
    pen.blob([(-40, -148), (-20, -160), (-24, -148), (-42, -134)], "#c4f07c")
    if mood in ("joy", "sleepy", "shock"):
        eyes(pen, (0, -120), 25, mood, 10)
    else:
        for side in (-1, 1):
            if mood == "cry":
                pen.box(side * 28 - 6, -116, side * 28 + 6, -86, "#7cc8f5", 6)
            pen.ellipse(side * 26, -120, 13, 20, INK, turn=side * 28)
            pen.ellipse(side * 26 - 4, -128, 4, 5.5, "white")
            if mood == "angry":
                pen.line([(side * 14, -140), (side * 40, -150)], dark, 5)
    cheeks(pen, (0, -98), 36, 6, "#f3a79a")
    mouth(pen, (0, -91), mood, 7)
    return Anchors((0, -170), (0, -76), (54, -96), (0, -120), 25)
