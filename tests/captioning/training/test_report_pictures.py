import io
import random
from pathlib import Path

import pytest
from PIL import Image

from ogiri.captioning.training.report_pictures import MAX_THUMBNAIL_BYTES, choose, show, thumbnail
from ogiri.picture import PictureError
from tests.captioning.training.reported import sample
from tests.contract.training import drawn


def picture(size: tuple[int, int], kind: str = "PNG", noise: bool = False) -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", size, "teal")
    if noise:
        image = Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1]))
    image.save(out, kind)
    return out.getvalue()


def test_the_best_the_middle_and_the_worst_are_chosen():
    scores = [50.0, 10.0, 90.0, 40.0, 30.0, 80.0, 20.0, 60.0, 70.0]
    assert choose(scores, 2) == [("best", 2), ("best", 5), ("middle", 7), ("middle", 0), ("worst", 6), ("worst", 1)]


@pytest.mark.parametrize("count", range(20))
def test_no_picture_is_shown_twice_and_few_are_all_shown(count: int):
    chosen = choose([float(n % 5) for n in range(count)], 4)
    indices = [index for _, index in chosen]
    assert len(indices) == len(set(indices))
    assert len(indices) == min(count, 12)
    assert [group for group, _ in chosen] == sorted(
        (group for group, _ in chosen), key=["best", "middle", "worst"].index
    )
    if count >= 3:
        assert {group for group, _ in chosen} == {"best", "middle", "worst"}


@pytest.mark.parametrize("size", [(2000, 1500), (1500, 2000), (90, 60), (4000, 3)])
def test_a_thumbnail_keeps_the_shape_and_is_small(size: tuple[int, int]):
    small = thumbnail(picture(size))
    with Image.open(io.BytesIO(small.data)) as image:
        assert (image.format, image.size) == ("WEBP", (small.width, small.height))
    assert max(small.width, small.height) <= 360
    assert small.height == max(1, round(small.width * size[1] / size[0]))


def test_a_picture_that_hardly_shrinks_gets_smaller_until_it_fits():
    small = thumbnail(picture((900, 900), noise=True))
    assert len(small.data) <= MAX_THUMBNAIL_BYTES
    assert small.width < 360


def test_what_is_no_picture_is_refused():
    with pytest.raises(PictureError):
        thumbnail(b"<html>404</html>")


def test_a_picture_that_is_gone_does_not_end_the_report(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(drawn(1))
    (tmp_path / "c.png").write_bytes(b"no picture")
    samples = [sample(image_key=f"{name}.png", chrf=score) for name, score in (("a", 3.0), ("b", 2.0), ("c", 1.0))]
    shown = show(tmp_path, samples)
    assert [index for index, _ in shown] == [0, 1, 2]
    assert shown[0][1].thumbnail is not None
    assert shown[1][1].thumbnail is None
    assert "No such file" in shown[1][1].reason
    assert "no picture in a format" in shown[2][1].reason
