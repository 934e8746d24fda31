"""The lines, read from `lines/`, and which of them answer a scene."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

LINES = Path(__file__).resolve().parent / "lines"


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
        """One more place to draw the subject at."""
        place: str = self._subjects[subject]["extra"]
        return place

    def answers(self, subject: str, place: str, words: str | None = None, prop: str | None = None) -> list[str]:
        """Three different lines for what a picture shows, the best fitting kind first."""
        chosen: list[str] = []
        for pool in self._pools(subject, place, words, prop):
            fresh = [line for line in pool if line not in chosen]
            line = min(fresh, key=lambda candidate: self._used[candidate])
            self._used[line] += 1
            chosen.append(line)
        noun = self._subjects[subject]["noun"]
        return [line.replace("{s}", noun) for line in chosen]

    def _pools(self, subject: str, place: str, words: str | None, prop: str | None) -> list[list[str]]:
        own: list[str] = self._subjects[subject]["lines"]
        here: list[str] = self._subjects[subject]["at"].get(place, [])
        anyone_here: list[str] = self._places[place]["lines"]
        if words:
            written: list[str] = self._words[words]["lines"]
            return [written, here + written, own]
        if prop:
            return [here + anyone_here, self._props[prop]["lines"], own]
        return [here or anyone_here, here + anyone_here, own]

    def every_line(self) -> list[str]:
        """Every line as written, `{s}` included."""
        lines: list[str] = []
        for table in (self._subjects, self._places, self._words, self._props):
            for entry in table.values():
                lines += _lines_of(entry)
        return lines


def _lines_of(entry: dict[str, Any]) -> list[str]:
    return [*entry["lines"], *(line for lines in entry.get("at", {}).values() for line in lines)]
