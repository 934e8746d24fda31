"""The lines, read from `lines/`, and which of them answer a scene."""

import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from examples.scenes import Scene

LINES = Path(__file__).resolve().parent / "lines"
LINES_PER_PICTURE = 3


class Script:
    """All lines by subject, place, words and prop; hands out the ones that were used least."""

    def __init__(self, folder: Path = LINES) -> None:
        self._subjects, self._places, self._words, self._props = (
            tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
            for name in ("subjects", "places", "words", "props")
        )
        self.boards: dict[str, str] = {words: entry["board"] for words, entry in self._words.items()}
        self._used: Counter[str] = Counter()

    def places_of(self, subject: str) -> list[str]:
        """The places that the subject has lines of its own for."""
        return list(self._subjects[subject]["at"])

    def extra_place_of(self, subject: str) -> str:
        place: str = self._subjects[subject]["extra"]
        return place

    def answers(self, scene: "Scene") -> list[str]:
        """Three different lines for a scene, the best fitting kind first."""
        rng = random.Random(scene.name)
        chosen: list[str] = []
        for pool in self._pools(scene, rng):
            fresh = [line for line in pool if line not in chosen]
            if fresh and len(chosen) < LINES_PER_PICTURE:
                line = min(fresh, key=lambda candidate: (self._used[candidate], rng.random()))
                self._used[line] += 1
                chosen.append(line)
        noun = self._subjects[scene.subject]["noun"]
        return [line.replace("{s}", noun) for line in chosen]

    def _pools(self, scene: "Scene", rng: random.Random) -> list[list[str]]:
        subject = self._subjects[scene.subject]
        own: list[str] = subject["lines"]
        here: list[str] = subject["at"].get(scene.place, [])
        place: list[str] = self._places[scene.place]["lines"]
        prop: list[str] = self._props[scene.prop]["lines"] if scene.prop else []
        if scene.board:
            words: list[str] = self._words[scene.board.words]["lines"]
            return [words, rng.choice([words, here]), own]
        if prop:
            return [rng.choice([here, place]) or place, prop, own]
        return [here or place, rng.choice([here, place, own]), own, own]

    def every_line(self) -> list[str]:
        """Every line as written, `{s}` included."""
        lines: list[str] = []
        for table in (self._subjects, self._places, self._words, self._props):
            for entry in table.values():
                lines += _lines_of(entry)
        return lines


def _lines_of(entry: dict[str, Any]) -> list[str]:
    return [*entry["lines"], *(line for lines in entry.get("at", {}).values() for line in lines)]
