"""The example pictures: drawn alike each time, readable, and each with three lines of its own."""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from examples.draw import HEADER, answers, draw
from examples.lettering import japanese_font
from examples.picture import UNIT, paint, paint_subject
from examples.scenes import PLACES, SUBJECTS, Scene, all_scenes
from examples.script import Script
from examples.sky import HEIGHT, WIDTH

ROOT = Path(__file__).resolve().parents[2]
MAX_LINE_BYTES = 1024  # a DynamoDB sort key


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return all_scenes(Script())


@pytest.fixture(scope="module")
def some(scenes: list[Scene]) -> list[Scene]:
    """A scene of every subject and every place."""
    chosen: list[Scene] = []
    for order, subject in enumerate(SUBJECTS):
        chosen.append([scene for scene in scenes if scene.subject == subject][order % 13])
    missing = set(PLACES) - {scene.place for scene in chosen}
    return chosen + [next(scene for scene in scenes if scene.place == place) for place in sorted(missing)]


@pytest.fixture(scope="module")
def drawn(some: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("examples"), scenes=some)


def read(rows: Path) -> list[dict[str, str]]:
    with rows.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_by_picture(scenes: Sequence[Scene]) -> dict[str, list[str]]:
    script = Script()
    return {scene.name: answers(script, scene) for scene in scenes}


def test_about_two_hundred_scenes_with_names_of_their_own(scenes: list[Scene]) -> None:
    assert len(scenes) == 208
    assert len({scene.name for scene in scenes}) == len(scenes)
    assert {scene.subject for scene in scenes} == set(SUBJECTS)
    assert {scene.place for scene in scenes} == set(PLACES)
    assert 0.3 < sum(scene.board is not None for scene in scenes) / len(scenes) < 0.4


def test_csv_has_three_rows_a_picture_and_every_picture_opens(drawn: Path, some: list[Scene]) -> None:
    rows = read(drawn)
    assert tuple(rows[0]) == HEADER
    assert len(rows) == 3 * len(some)
    assert {row["image_url"] for row in rows} == {f"{scene.name}.jpg" for scene in some}
    assert {row["score"] for row in rows} <= {"", *"012345"}
    for name in {row["image_url"] for row in rows}:
        with Image.open(drawn.parent / "images" / name) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))


def test_draws_the_same_bytes_again(drawn: Path, some: list[Scene], tmp_path: Path) -> None:
    again = draw(tmp_path, scenes=some[:4])
    assert again.read_text(encoding="utf-8").splitlines() == drawn.read_text(encoding="utf-8").splitlines()[:13]
    for scene in some[:4]:
        name = f"images/{scene.name}.jpg"
        assert (tmp_path / name).read_bytes() == (drawn.parent / name).read_bytes()


def test_different_scenes_look_different(some: list[Scene]) -> None:
    assert len({paint(scene).tobytes() for scene in some[:6]}) == 6


def test_every_picture_has_three_different_lines(scenes: list[Scene]) -> None:
    for name, lines in lines_by_picture(scenes).items():
        assert len(set(lines)) == 3, name
        for line in lines:
            assert line == line.strip()
            assert "{" not in line
            assert 0 < len(line.encode()) <= MAX_LINE_BYTES


def test_most_lines_answer_several_pictures(scenes: list[Scene]) -> None:
    uses = Counter(line for lines in lines_by_picture(scenes).values() for line in lines)
    assert sum(count for count in uses.values() if count > 1) > 0.6 * uses.total()


def test_every_written_line_is_used_and_written_once(scenes: list[Scene]) -> None:
    written = Script().every_line()
    assert len(set(written)) == len(written)
    said = {line for lines in lines_by_picture(scenes).values() for line in lines}
    assert [line for line in written if "{s}" not in line and line not in said] == []


def test_words_fit_inside_the_picture(scenes: list[Scene]) -> None:
    lettered = [scene.board for scene in scenes if scene.board]
    assert {board.kind for board in lettered} == {"sign", "banner", "bubble"}
    for board in lettered:
        left, top, right, bottom = board.box
        assert 0 < left < right < WIDTH, board
        assert 0 < top < bottom < HEIGHT, board
        assert japanese_font(round(board.size)).getlength(board.words) <= right - left + 1
        assert board.size >= 28  # what text recognition reads


def test_words_stand_dark_on_light(scenes: list[Scene]) -> None:
    for kind in ("sign", "banner", "bubble"):
        scene = next(scene for scene in scenes if scene.board and scene.board.kind == kind)
        assert scene.board
        words = paint(scene).convert("L").crop(tuple(round(side) for side in scene.board.box))
        darkest, lightest = words.getextrema()
        assert darkest < 90
        assert lightest > 240


def test_subject_stays_inside_the_picture(some: list[Scene]) -> None:
    for scene in some:
        box = paint_subject(scene)[0].getbbox()
        assert box, scene.name
        assert box[0] > -1
        assert box[2] - box[0] > 50 * UNIT, scene.name
        assert box[1] > 0, scene.name


def test_tells_how_far_it_is(scenes: list[Scene], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    draw(tmp_path, lambda done, total: told.append((done, total)), scenes[:2])
    assert told == [(1, 2), (2, 2)]


def test_command_without_a_folder_says_how() -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "draw.py"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "usage: python examples/draw.py OUT_FOLDER" in result.stderr
