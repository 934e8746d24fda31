from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Callable

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from examples.draw import all_scenes, paint
from examples.script import Script
from ogiri import picture
from ogiri.captioning.data.duplicates import HASH_BYTES, MAX_DISTANCE, alike, picture_hash
from tests.contract.training import drawn

SIZE = 224


@pytest.fixture(scope="module")
def scenes() -> list[Image.Image]:
    """Some of the examples, several of each kind."""
    return [paint(scene) for scene in all_scenes(Script())[:24]]


def saved(image: Image.Image, kind: str = "jpeg", **options: int) -> np.ndarray:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return picture.load(data.getvalue(), SIZE)


def hashes(*pictures: np.ndarray) -> np.ndarray:
    found = [picture_hash(rgb) for rgb in pictures]
    assert {len(one) for one in found} <= {HASH_BYTES}
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, HASH_BYTES)


def distance(a: np.ndarray, b: np.ndarray) -> int:
    one, other = hashes(a, b)
    return int(np.bitwise_count(one ^ other).sum())


def grouped(found: np.ndarray) -> list[int]:
    return alike(found, [str(number) for number in range(len(found))]).tolist()


# --- hashes ----------------------------------------------------------------------------------------------------------


def smaller(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 3, image.height // 3), Image.Resampling.LANCZOS)


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((image.width // 100, image.height // 100, image.width * 99 // 100, image.height * 99 // 100))


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.2)


COPIES: dict[str, Callable[[Image.Image], np.ndarray]] = {
    "smaller": lambda image: saved(smaller(image)),
    "JPEG of low quality": lambda image: saved(image, quality=30),
    "WebP": lambda image: saved(image, "webp", quality=60),
    "GIF": lambda image: saved(image.quantize(64), "gif"),
    "edges cut off": lambda image: saved(cropped(image)),
    "brighter": lambda image: saved(brighter(image)),
    "grey": lambda image: saved(image.convert("L")),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_near(scenes: list[Image.Image], how: str):
    assert all(distance(saved(image), COPIES[how](image)) <= MAX_DISTANCE for image in scenes)


def test_other_pictures_are_far(scenes: list[Image.Image]):
    assert grouped(hashes(*map(saved, scenes))) == list(range(len(scenes)))
    shapes = [picture.load(drawn(seed), 64) for seed in range(100)]
    assert grouped(hashes(*shapes)) == list(range(100))


def test_a_hash_is_image_hashs(scenes: list[Image.Image]):
    rgb = saved(scenes[0])
    assert picture_hash(rgb) == bytes.fromhex(str(imagehash.phash(Image.fromarray(rgb), 16)))


def plain(colour: tuple[int, int, int], stripe: int = 0) -> np.ndarray:
    image = Image.new("RGB", (300, 200), colour)
    ImageDraw.Draw(image).rectangle((0, 0, 300, stripe), fill=(90, 20, 20))
    return saved(image, "png")


def test_flat_pictures_are_alike_only_if_they_are_equal():
    rng = np.random.default_rng(0)
    noise = [(128 + rng.normal(0, 0.5, (SIZE, SIZE, 3))).astype(np.uint8) for _ in range(2)]
    white, grey, faint = plain((255, 255, 255)), plain((128, 128, 128)), plain((253, 255, 255))
    assert grouped(hashes(white, grey, *noise, faint, white, noise[1])) == [0, 1, 2, 3, 4, 0, 3]


def test_pictures_of_plain_stripes_are_alike_only_if_they_are_equal():
    stripes = [plain((200, 220, 240), height) for height in (20, 60, 61, 100, 60)]
    one, other = (imagehash.phash(Image.fromarray(rgb), 16) for rgb in stripes[1:3])
    assert one - other <= MAX_DISTANCE  # or this would show nothing
    assert grouped(hashes(*stripes)) == [0, 1, 2, 3, 1]


# --- groups ----------------------------------------------------------------------------------------------------------


def flipped(one: np.ndarray, bits: int, seed: int) -> np.ndarray:
    places = np.zeros(8 * HASH_BYTES, np.uint8)
    places[random.Random(seed).sample(range(len(places)), bits)] = 1
    return one ^ np.packbits(places)


def some(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, HASH_BYTES), np.uint8)


def test_pictures_are_called_after_the_first_of_their_group():
    found = some(200)
    found[150] = flipped(found[20], 12, 1)
    found[7] = flipped(found[20], 30, 2)
    found[199] = found[40]
    expected = list(range(200))
    expected[20] = expected[150] = 7
    expected[199] = 40
    assert grouped(found) == expected


def test_who_is_near_to_one_of_a_group_belongs_to_it():
    found = some(60)
    for number in range(3, 9):
        found[number] = flipped(found[number - 1], 30, number)
    assert np.bitwise_count(found[2] ^ found[8]).sum() > MAX_DISTANCE
    assert grouped(found) == [0, 1, *[2] * 7, *range(9, 60)]


def test_nearly_all_pairs_within_the_distance_are_found_and_no_other():
    found = some(4000)
    near = [flipped(found[n], MAX_DISTANCE - n % 9, n) for n in range(1000)]
    far = [flipped(found[n], MAX_DISTANCE + 1, n) for n in range(1000, 2000)]
    groups = np.array(grouped(np.concatenate([found, near, far])))
    assert (groups[4000:5000] == np.arange(1000)).mean() > 0.99
    assert (groups[5000:] == np.arange(5000, 6000)).all()


def test_what_comes_later_changes_no_group_of_others():
    found = np.concatenate([some(300), [flipped(one, 20, 1) for one in some(300)[:50]]])
    new = np.concatenate([some(100, seed=1), [flipped(found[200], 10, 3)]])
    before, after = grouped(found), grouped(np.concatenate([found, new]))
    assert after[: len(found)] == before
    assert after[len(found) :] == [*range(len(found), len(found) + 100), 200]


def crowd(count: int, seed: int = 0) -> np.ndarray:
    (centre,) = some(1, seed)
    return np.array([flipped(centre, 1 + n % 20, n) for n in range(count)])


@pytest.mark.parametrize(("pictures", "most"), [(30, 10), (500, 50), (3000, 100)])
def test_a_crowd_is_taken_apart_and_only_equal_pictures_stay_together(
    pictures: int, most: int, caplog: pytest.LogCaptureFixture
):
    members = crowd(most + 1)
    others = some(pictures - len(members), seed=5)
    found = np.concatenate([members[:1], members[:-1], others])
    assert grouped(found) == [0, 0, *range(2, pictures)]
    assert caplog.messages == [
        f"{most + 1} pictures look alike, more than {most}, such as 0, 1, 2: only equal hashes are kept together, "
        f"in {most} groups"
    ]


@pytest.mark.parametrize(("pictures", "most"), [(12, 10), (500, 50), (3000, 100)])
def test_what_is_no_crowd_stays_together(pictures: int, most: int, caplog: pytest.LogCaptureFixture):
    found = np.concatenate([crowd(most), some(pictures - most, seed=5)])
    assert Counter(grouped(found))[0] == most
    assert caplog.messages == []


def test_of_no_pictures_there_are_no_groups():
    assert grouped(some(0)) == []
    assert grouped(some(1)) == [0]
