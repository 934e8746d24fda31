"""A CSV with paths becomes one with addresses of S3; its lines are still known by their numbers."""

from __future__ import annotations

import io
from pathlib import Path

from local.aws import embedded_aws
from local.upload import put_pictures, rewritten
from ogiri_aws.rows import read_rows

PLACE = "s3://bucket/pictures/"


def test_paths_become_addresses_and_lines_keep_their_numbers(tmp_path: Path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "犬 1.png").write_bytes(b"dog")
    rows = [
        "image_url,expected_result,score",
        "犬 1.png,一言,0.1234567",
        "gone.png,無い,",
        '/犬 1.png,"二\n行",',
        "https://example.com/cat.png,猫,3",
        "one column",
        "../rows.csv,外,",
    ]
    path = tmp_path / "rows.csv"
    path.write_bytes("\n".join(rows).encode("cp932"))
    found = rewritten(path, folder, PLACE)

    read = list(read_rows(io.BytesIO(found.csv)))
    assert [(row.image_url, row.line, row.score) for row in read] == [
        (f"{PLACE}犬 1.png", "一言", 0.123457),
        (f"{PLACE}犬 1.png", "二\n行", None),
        ("https://example.com/cat.png", "猫", 3.0),
    ]
    assert [found.lines[row.line_number] for row in read] == [2, 4, 6]
    assert (found.rows, len(found.urls)) == (3, 2)
    assert [error.line for error in found.errors] == [3, 7, 8]
    assert "gone.png is not in the folder" in found.errors[0].reason
    assert "leaves the folder" in found.errors[2].reason


def test_each_picture_is_uploaded_once(tmp_path: Path):
    (tmp_path / "a b.png").write_bytes(b"dog")
    path = tmp_path / "rows.csv"
    path.write_text("a b.png,一\na b.png,二\n", encoding="utf-8")
    found = rewritten(path, tmp_path, PLACE)
    assert found.pictures == ["a b.png"]
    with embedded_aws(bucket="bucket", table=None) as aws:
        s3 = aws.client("s3")
        put_pictures(s3, "bucket", "pictures/", tmp_path, found.pictures)
        assert s3.get_object(Bucket="bucket", Key="pictures/a b.png")["Body"].read() == b"dog"
