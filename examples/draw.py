"""Draws the example pictures and writes the CSV with their lines.

python examples/draw.py OUT_FOLDER
"""

import csv
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.picture import paint
from examples.scenes import Scene, all_scenes
from examples.script import Script

HEADER = ("image_url", "expected_result", "score")
JPEG_QUALITY = 86
TOP_SCORE = 5
UNSCORED = 0.08  # share of the lines that nobody voted on


def draw(out: Path, progress: Callable[[int, int], None] | None = None, scenes: Sequence[Scene] | None = None) -> Path:
    """Draws `scenes` (all of them by default) below `out/images` and returns the path of the CSV.

    `progress` is called after each picture with the number drawn and the number in all.
    """
    script = Script()
    scenes = all_scenes(script) if scenes is None else scenes
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = out / "rows.csv"
    with rows.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for done, scene in enumerate(scenes, start=1):
            name = f"{scene.name}.jpg"
            paint(scene).save(images / name, quality=JPEG_QUALITY)
            writer.writerows((name, line, score(scene, line)) for line in answers(script, scene))
            if progress:
                progress(done, len(scenes))
    return rows


def answers(script: Script, scene: Scene) -> list[str]:
    """Three lines for a scene."""
    return script.answers(scene.subject, scene.place, scene.board and scene.board.words, scene.prop)


def score(scene: Scene, line: str) -> str:
    """A plausible number of votes, 0 to 5, or nothing."""
    rng = random.Random(f"{scene.name} {line}")
    return "" if rng.random() < UNSCORED else str(round(rng.triangular(0, TOP_SCORE, 3)))


def show(done: int, total: int) -> None:
    """Says now and then how far it is."""
    if done % 20 == 0 or done == total:
        print(f"{done} of {total} pictures", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/draw.py OUT_FOLDER")
    print(draw(Path(sys.argv[1]), show))
