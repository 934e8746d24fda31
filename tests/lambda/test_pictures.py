import dataclasses
import gzip
import io
import struct
import zlib

import pytest
from PIL import Image
from stand_ins import drip, flood, picture, stall

from ogiri.record import Label
from ogiri_aws.clients import connect
from ogiri_aws.pictures import Limits, PictureError, PictureSource, media_type
from ogiri_aws.rekognition import Detection, acceptable, analyse


@pytest.fixture
def source(aws):
    clients = connect(threads=2)
    yield PictureSource(clients.s3, clients.http, limits=Limits(read_seconds=0.3, total_seconds=0.5, max_bytes=50_000))
    clients.close()


@pytest.fixture
def folder(tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "images").mkdir(parents=True)
    (pictures / "images" / "1.jpg").write_bytes(picture())
    (pictures / "a#b?c%20.jpg").write_bytes(picture())
    (tmp_path / "secret.jpg").write_bytes(picture())
    (pictures / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (pictures / "near.jpg").symlink_to("images/1.jpg")
    (pictures / "loop.jpg").symlink_to("loop.jpg")
    return PictureSource(s3=None, http=None, folder=pictures)


def test_fetches_from_the_web_through_redirects_and_decompressed(source, web):
    data = picture()
    web.add("/a.jpg", data)
    moved = web.add("/moved", status=302, Location="/a.jpg")
    packed = web.add("/packed", gzip.compress(data), **{"Content-Encoding": "gzip"})
    assert source.fetch(moved) == data
    assert source.fetch(packed) == data
    assert source.fetch(web.url.replace("http", "HTTP") + "/a.jpg") == data


def test_a_server_that_is_busy_for_a_moment_is_asked_again(source, web):
    data = picture()

    def busy_at_first(handler):
        ready = web.requests["/busy.jpg"] > 1
        handler.send_response(200 if ready else 503)
        handler.end_headers()
        handler.wfile.write(data if ready else b"")

    assert source.fetch(web.add("/busy.jpg", busy_at_first)) == data


def test_what_the_web_does_not_give_is_an_error_with_the_url(source, web):
    with pytest.raises(PictureError, match=r"/missing\.jpg answered 404 Not Found"):
        source.fetch(web.url + "/missing.jpg")
    web.add("/round", status=302, Location="/round")
    with pytest.raises(PictureError, match=r"/round cannot be fetched \(Exceeded 5 redirects"):
        source.fetch(web.url + "/round")
    web.add("/file", status=302, Location="file:///etc/passwd")
    with pytest.raises(PictureError, match=r"/file cannot be fetched"):
        source.fetch(web.url + "/file")
    with pytest.raises(PictureError, match=r"cannot be fetched .*refused"):
        source.fetch("http://127.0.0.1:9/a.jpg")
    with pytest.raises(PictureError, match="cannot be fetched"):
        source.fetch(f"http://{'x' * 80}.example/a.jpg")
    with pytest.raises(PictureError, match="must start with https://"):
        source.fetch("ftp://127.0.0.1/a.jpg")


@pytest.mark.parametrize(("body", "message"), [(stall, "did not answer in time|cannot be fetched"), (drip, "longer")])
def test_a_slow_picture_is_given_up(source, web, body, message):
    with pytest.raises(PictureError, match=rf"/slow\.jpg .*({message})"):
        source.fetch(web.add("/slow.jpg", body))


def test_a_picture_that_is_too_large_is_given_up_whether_it_says_so_or_not(source, web):
    bomb = gzip.compress(bytes(10_000_000))
    assert len(bomb) < 50_000
    for url in (
        web.add("/says.jpg", bytes(60_000)),
        web.add("/flood.jpg", flood),
        web.add("/bomb.jpg", bomb, **{"Content-Encoding": "gzip"}),
    ):
        with pytest.raises(PictureError, match=r"\.jpg is larger than 50,000 bytes"):
            source.fetch(url)


def test_fetches_from_s3_by_the_key_as_it_is(source, destination, s3):
    key = "お題/a b+c?#%20.jpg"
    s3.put_object(Bucket=destination.bucket, Key=key, Body=picture())
    s3.put_object(Bucket=destination.bucket, Key="large.jpg", Body=bytes(60_000))
    assert source.fetch(f"s3://{destination.bucket}/{key}") == picture()
    with pytest.raises(PictureError, match=r"none\.jpg: S3 answered NoSuchKey"):
        source.fetch(f"s3://{destination.bucket}/none.jpg")
    with pytest.raises(PictureError, match=r"NoSuchBucket"):
        source.fetch("s3://no-such-bucket-here/none.jpg")
    with pytest.raises(PictureError, match=r"cannot be fetched .*no bucket's name"):
        source.fetch("s3://No Bucket/none.jpg")
    with pytest.raises(PictureError, match=r"large\.jpg is larger"):
        source.fetch(f"s3://{destination.bucket}/large.jpg")


@pytest.mark.parametrize(
    "name", ["images/1.jpg", "/images/1.jpg", "images/../images/1.jpg", "near.jpg", "a#b?c%20.jpg"]
)
def test_fetches_from_a_folder(folder, name):
    assert folder.fetch(name) == picture()


@pytest.mark.parametrize(
    "name",
    [
        *("../secret.jpg", "images/../../secret.jpg", "/../secret.jpg", "link.jpg", "loop.jpg", "file:../secret.jpg"),
        *("none.jpg", "images", ".", "", "\0.jpg", "x" * 300),
    ],
)
def test_a_name_never_leaves_its_folder(folder, name):
    with pytest.raises(PictureError):
        folder.fetch(name)


def test_an_absolute_path_is_looked_up_below_the_folder_only(folder, tmp_path):
    for name in (str(tmp_path / "secret.jpg"), "/etc/passwd"):
        with pytest.raises(PictureError, match="is not in the folder"):
            folder.fetch(name)


def test_a_path_without_a_folder_is_refused(folder):
    with pytest.raises(PictureError, match="no folder of pictures was given"):
        dataclasses.replace(folder, folder=None).fetch("images/1.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_tells_a_picture_by_its_bytes(kind):
    assert media_type(picture(format=kind)) == f"image/{kind.lower()}"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        b"\xff\xd8\xff\xe0",
        picture(size=(600, 400))[:-600],
        picture(size=(600, 400), format="PNG")[:300],
        picture(format="TIFF"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
    ids=["empty", "html", "start", "cut-jpeg", "cut-png", "tiff", "postscript"],
)
def test_what_is_no_whole_picture_is_refused(data):
    with pytest.raises(PictureError):
        media_type(data)


@pytest.mark.parametrize("side", [8_000, 10_000, 20_000])
def test_a_picture_of_too_many_pixels_is_refused_before_they_are_decoded(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(PictureError, match="pixels"):
        media_type(
            b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        )


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 120).convert("RGB")


def bytes_of(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data", [picture(), picture(format="PNG"), picture(format="PNG", mode="RGBA", color=(9, 9, 9, 9))]
)
def test_rekognition_gets_the_bytes_that_it_takes_unchanged(data):
    assert acceptable(data) is data


@pytest.mark.parametrize(
    "data",
    [
        picture(format="WEBP"),
        picture(format="GIF"),
        picture(format="BMP"),
        picture(size=(20, 500)),
        picture(size=(1, 1), format="PNG", mode="RGBA", color=(0, 0, 0, 0)),
        picture(size=(12_000, 90)),
        picture(mode="CMYK", color=(0, 0, 0, 0)),
        picture(format="PNG", mode="I;16", color=30_000),
        bytes_of(noise(1600, 1400), "PNG", compress_level=0),
    ],
    ids=["webp", "gif", "bmp", "narrow", "pixel", "wide", "cmyk", "grey16", "6MB"],
)
def test_rekognition_gets_a_copy_of_what_it_does_not_take(data):
    copied = acceptable(data)
    with Image.open(io.BytesIO(copied)) as copy:
        assert (copy.format, copy.mode) == ("JPEG", "RGB")
        assert 80 <= min(copy.size) <= max(copy.size) <= 10_000
    assert len(copied) <= 5 * 1024 * 1024


def test_a_picture_of_another_format_is_analysed_too(aws, rekognition):
    clients = connect(threads=1)
    labels, text = analyse(clients.rekognition, picture(size=(40, 40), format="WEBP"))
    clients.close()
    assert labels == (Label("Cat", 98.76543),)
    assert text == ""


def test_what_is_transparent_becomes_white():
    with Image.open(io.BytesIO(acceptable(picture(format="WEBP", mode="RGBA", color=(0, 0, 0, 0))))) as copy:
        assert (
            min(
                copy.convert("L").getdata()
                if not hasattr(copy, "get_flattened_data")
                else copy.convert("L").get_flattened_data()
            )
            > 250
        )


def test_labels_come_best_first_and_text_from_lines_only(aws, rekognition):
    rekognition.labels = [{"Name": "Pet", "Confidence": 40.5}, {"Name": "Cat", "Confidence": 98.76543}]
    rekognition.texts = [
        {"DetectedText": "立入", "Type": "LINE"},
        {"DetectedText": "立入", "Type": "WORD"},
        {"DetectedText": "禁\n止 " + "x" * 500, "Type": "LINE"},
    ]
    clients = connect(threads=1)
    labels, text = analyse(clients.rekognition, picture(), Detection(min_confidence=12.5, max_labels=3))
    assert [(label.name, label.confidence) for label in labels] == [("Cat", 98.76543), ("Pet", 40.5)]
    assert text.startswith("立入 禁 止 xxx")
    assert len(text) == 200
    assert (rekognition.parameters["MinConfidence"], rekognition.parameters["MaxLabels"]) == (12.5, 3)
    assert analyse(clients.rekognition, picture(), Detection(text=False))[1] == ""
    assert rekognition.calls == {"DetectLabels": 2, "DetectText": 1}
    clients.close()


def test_what_rekognition_refuses_is_the_pictures_error(aws, rekognition):
    rekognition.failures = ["InvalidImageFormatException"]
    clients = connect(threads=1)
    with pytest.raises(PictureError, match="does not take the picture"):
        analyse(clients.rekognition, picture())
    clients.close()
