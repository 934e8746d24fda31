"""Every scene of the picture set: who stands where, in which light and mood, with what, below which words."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from examples import animals, indoors, outdoors, people, things
from examples.face import MOODS, Anchors
from examples.lettering import Lettering, lettering
from examples.pen import Pen
from examples.script import Script
from examples.sky import EVENING, NIGHT, SKIES, WIDTH, Sky


class Subject(NamedTuple):
    """How to draw somebody, and the room it takes, in units."""

    draw: Callable[[Pen, str], Anchors]
    height: float
    reach: float  # to either side of its feet


class Place(NamedTuple):
    """How to draw a place, behind the subject and in front of it, and where feet stand."""

    draw: Callable[[Pen, Sky, random.Random], None]
    front: Callable[[Pen, Sky, random.Random], None] | None = None
    ground: float = 268


SUBJECTS = {
    "penguin": Subject(animals.penguin, 168, 72),
    "cat": Subject(animals.cat, 176, 80),
    "shark": Subject(animals.shark, 166, 128),
    "bear": Subject(animals.bear, 172, 70),
    "octopus": Subject(animals.octopus, 172, 104),
    "dinosaur": Subject(animals.dinosaur, 174, 112),
    "giraffe": Subject(animals.giraffe, 216, 80),
    "salaryman": Subject(people.salaryman, 176, 60),
    "sumo": Subject(people.sumo, 182, 98),
    "ninja": Subject(people.ninja, 176, 92),
    "grandma": Subject(people.grandma, 186, 66),
    "ghost": Subject(people.ghost, 176, 76),
    "alien": Subject(people.alien, 192, 64),
    "robot": Subject(things.robot, 188, 76),
    "vending": Subject(things.vending, 180, 76),
    "snowman": Subject(things.snowman, 190, 90),
}
PLACES = {
    "sea": Place(outdoors.sea),
    "space": Place(outdoors.space),
    "fuji": Place(outdoors.fuji),
    "desert": Place(outdoors.desert),
    "snow": Place(outdoors.snow, outdoors.snowfall),
    "festival": Place(outdoors.festival),
    "onsen": Place(outdoors.onsen, outdoors.bath, 276),
    "office": Place(indoors.office),
    "konbini": Place(indoors.konbini),
    "school": Place(indoors.school),
    "train": Place(indoors.train),
    "stage": Place(indoors.stage),
}
DRESS = ("tie", "scarf", "sunglasses", "ramen", "laptop")  # leaves room above the head for a banner or a bubble
FESTIVE = ("umbrella", "party_hat", "crown", "balloon")
UNFIT: dict[str, set[str]] = {  # what is worn already, or hidden below the water
    "salaryman": {"tie"},
    "ninja": {"scarf"},
    "octopus": {"tie", "scarf"},
    "shark": {"laptop", "balloon", "umbrella"},
    "dinosaur": {"balloon"},
    "vending": {"tie", "scarf", "ramen", "laptop"},
    "onsen": {"ramen", "laptop", "tie"},
}


@dataclass(frozen=True)
class Scene:
    """One picture."""

    subject: str
    place: str
    number: int  # from 1, among the pictures of this subject
    sky: Sky
    mood: str
    prop: str | None
    board: Lettering | None
    x: float  # where the subject stands
    scale: float
    turn: float  # degrees
    flip: bool

    @property
    def name(self) -> str:
        """The file name without its ending."""
        return f"{self.subject}_{self.place}_{self.number:02d}"


def all_scenes(script: Script) -> list[Scene]:
    """Thirteen scenes a subject: two at each of its six places and one at the extra place."""
    words = [text for _ in range(len(SUBJECTS)) for text in script.boards]
    scenes = []
    for order, subject in enumerate(SUBJECTS):
        homes = script.places_of(subject)
        places = [*homes, *homes, script.extra_place_of(subject)]
        for number, place in enumerate(places, start=1):
            lettered = len(homes) < number <= 2 * len(homes) and (number + order) % 4 != 0
            scenes.append(compose(script, subject, place, number, words.pop(0) if lettered else None))
    return scenes


def compose(script: Script, subject: str, place: str, number: int, words: str | None) -> Scene:
    """A scene whose free choices follow from its subject, place and number alone."""
    rng = random.Random(f"{subject} {place} {number}")
    kind = script.boards[words] if words else None
    shape = SUBJECTS[subject]
    prop = _choose_prop(rng, subject, place, plain=kind is None)
    scale, x = rng.uniform(0.98, 1.14), WIDTH / 2 + rng.uniform(-44, 44)
    room = PLACES[place].ground - (92 if kind in ("banner", "bubble") else 52 if prop in FESTIVE else 18)
    board = None
    if words and kind == "sign":
        side = rng.choice((-1, 1))
        board = lettering(words, kind, WIDTH / 2 + side * 112)
        scale, x = min(scale, 208 / (2 * shape.reach)), WIDTH / 2 - side * 84
    elif words and kind:
        board = lettering(words, kind, x + rng.choice((-60, 60)))
    return Scene(
        subject=subject,
        place=place,
        number=number,
        sky=rng.choice((EVENING, NIGHT, NIGHT))
        if place == "festival"
        else SKIES[(number + number // 7 + len(subject)) % 3],
        mood=rng.choice((*MOODS, "calm", "joy")),
        prop=prop,
        board=board,
        x=x,
        scale=min(scale, room / shape.height),
        turn=rng.uniform(-3, 3),
        flip=rng.random() < 0.5,
    )


def _choose_prop(rng: random.Random, subject: str, place: str, plain: bool) -> str | None:
    if rng.random() > (0.4 if plain else 0.25):
        return None
    unfit = UNFIT.get(subject, set()) | UNFIT.get(place, set())
    choices = [prop for prop in (*DRESS, *(FESTIVE if plain else ())) if prop not in unfit]
    return str(rng.choice(choices))
