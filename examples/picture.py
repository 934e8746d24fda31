"""From a scene to a picture: background, subject with a white rim, foreground, words."""

import random

from PIL import Image, ImageFilter

from examples.lettering import draw_board, draw_words
from examples.pen import Pen, Point
from examples.props import PROPS
from examples.scenes import PLACES, SUBJECTS, Scene
from examples.sky import HEIGHT, WIDTH

UNIT = 3  # pixels a unit while drawing; the finished picture has one
RIM = 5  # pixels of white around a subject, before shrinking


def paint(scene: Scene) -> Image.Image:
    """The finished picture, 400 by 300 pixels, the same for the same scene."""
    rng = random.Random(scene.name)
    place = PLACES[scene.place]
    image = Image.new("RGB", (WIDTH * UNIT, HEIGHT * UNIT))
    pen = Pen(image, UNIT)
    place.draw(pen, scene.sky, rng)
    if place.front is None or scene.place == "snow":
        reach = SUBJECTS[scene.subject].reach * scene.scale
        pen.ellipse(scene.x, place.ground - 1, reach * 0.75, 9, "#00000030")
    layer, mouth = paint_subject(scene)
    image.paste("#ffffff", mask=rim(layer))
    image.paste(layer, mask=layer)
    if place.front:
        place.front(pen, scene.sky, rng)
    if scene.board:
        draw_board(pen, scene.board, mouth)
        draw_words(image, scene.board, UNIT)
    return image.reduce(UNIT)


def paint_subject(scene: Scene) -> tuple[Image.Image, Point]:
    """The subject with its prop on a clear layer, and where a speech bubble should point, in units."""
    layer = Image.new("RGBA", (WIDTH * UNIT, HEIGHT * UNIT), (0, 0, 0, 0))
    pen = Pen(layer, UNIT)
    with pen.at(scene.x, PLACES[scene.place].ground, scene.scale, scene.turn, scene.flip):
        anchors = SUBJECTS[scene.subject].draw(pen, scene.mood)
        if scene.prop:
            PROPS[scene.prop](pen, anchors)
        x, y = pen.place(anchors.head[0], anchors.head[1] - 6)
    return layer, (x / UNIT, y / UNIT)


def rim(layer: Image.Image) -> Image.Image:
    """The layer's outline grown by RIM pixels."""
    blurred = layer.getchannel("A").filter(ImageFilter.BoxBlur(RIM))
    return blurred.point([255 if value > 12 else 0 for value in range(256)])
