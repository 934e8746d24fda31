import csv
import io
import json

import pytest

from ogiri_aws.items import Items, PictureItem, group
from ogiri_aws.rows import CsvError, Row, RowError, read_rows


def rows(data: bytes | str) -> list[Row | RowError]:
    return list(read_rows(io.BytesIO(data.encode() if isinstance(data, str) else data)))


def test_reads_url_line_and_score_below_a_header():
    assert rows("image_url,expected_result,score\nhttps://a.example/1.jpg,猫の会議,12\n") == [
        Row(2, "https://a.example/1.jpg", "猫の会議", 12.0)
    ]


def test_reads_a_file_without_header_from_its_first_row():
    found = rows("https://a.example/1.jpg,猫の会議\npictures/2.png,犬の会議,0.5\n")
    assert found == [Row(1, "https://a.example/1.jpg", "猫の会議"), Row(2, "pictures/2.png", "犬の会議", 0.5)]


def test_header_names_decide_and_not_the_order_of_columns():
    found = rows("Score, Expected Result ,comment,ImageUrl\n3,ここだけの話,見ない,s3://bucket/key.jpg\n")
    assert found == [Row(2, "s3://bucket/key.jpg", "ここだけの話", 3.0)]


def test_reads_bokekan_with_its_stars_and_labels():
    data = (
        "id,odai_id,odai_photo_id,odai_photo_url,odai_user_id,text,category,posted_at,rate_sum,rate_count,labels\n"
        '1,2,3,/images/3.jpg,9,"表で\n待ってる",シュール,2020-01-01,120,50,Dog/ Pet /Dog/Canine\n'
        "2,2,3,/images/3.jpg,9,ソの字,バカ,2020-01-01,0,0,\n"
    )
    assert rows(data) == [
        Row(2, "/images/3.jpg", "表で\n待ってる", 120.0, ("Dog", "Pet", "Canine")),
        Row(4, "/images/3.jpg", "ソの字", 0.0),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_finds_the_encoding_even_where_a_character_ends_in_a_backslash_byte(encoding):
    line = "表のソ、予約①～能 十貼\\n"
    text = f'image_url,expected_result\r\nhttps://a.example/1.jpg,"{line}"\r\nhttps://a.example/2.jpg,ﾃｽﾄ\r\n'
    assert b"\\" in "表ソ".encode("cp932")
    found = rows(text.encode(encoding))
    assert [row.line for row in found] == [line, "ﾃｽﾄ"]
    assert [row.line_number for row in found] == [2, 3]


def test_a_byte_order_mark_does_not_hide_the_header():
    assert rows("\ufeffimage_url,expected_result\nhttps://a.example/1.jpg,hi\n") == [
        Row(2, "https://a.example/1.jpg", "hi")
    ]


def test_shift_jis_far_behind_plain_rows_is_found_in_a_stream_that_cannot_be_rewound():
    class Stream(io.RawIOBase):  # as S3 gives it
        def __init__(self, data):
            self._data = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self._data.readinto(buffer)

    plain = b"".join(b"https://a.example/%d.jpg,plain %d\n" % (n, n) for n in range(50_000))
    data = plain + "https://a.example/x.jpg,表\n".encode("cp932")
    found = list(read_rows(Stream(data)))
    assert len(found) == 50_001
    assert found[-1] == Row(50_001, "https://a.example/x.jpg", "表")


def test_leaves_the_file_of_the_caller_open():
    file = io.BytesIO(b"https://a.example/1.jpg,hi\n")
    list(read_rows(file))
    assert not file.closed


def test_a_file_in_neither_encoding_is_refused_with_its_line():
    data = "https://a.example/1.jpg,表\n".encode("cp932") + b"https://a.example/2.jpg,\x82\xff\n"
    with pytest.raises(CsvError, match=r"line 2 is neither UTF-8 nor Shift_JIS"):
        rows(data)


def test_one_broken_byte_in_utf_8_is_no_reason_to_read_everything_as_shift_jis():
    good = "".join(f"https://a.example/{n}.jpg,これは良い行です\n" for n in range(3)).encode()
    with pytest.raises(CsvError, match=r"line 4 is not UTF-8"):
        rows(good + b"https://a.example/4.jpg,\x83\x5c\n")


@pytest.mark.parametrize(
    "data", ["image_url,expected_result\n".encode("utf-16"), b"PK\x03\x04\x14\x00\x06\x00\x08\x00"], ids=["16", "xlsx"]
)
def test_a_workbook_or_utf_16_is_refused_with_the_way_out(data):
    with pytest.raises(CsvError, match=r"line 1 .*CSV UTF-8"):
        rows(data)


def test_a_header_without_a_column_for_the_line_is_refused():
    with pytest.raises(CsvError, match=r"line 1: .*no expected_result.*image_url, caption"):
        rows("image_url,caption\nhttps://a.example/1.jpg,hi\n")


def test_an_unknown_header_is_reported_and_the_rest_is_read():
    found = rows("画像,ボケ\nhttps://a.example/1.jpg,hi\n")
    assert isinstance(found[0], RowError)
    assert found[0].line == 1
    assert found[1:] == [Row(2, "https://a.example/1.jpg", "hi")]


def test_quotes_commas_and_line_breaks_stay_in_a_line_and_rows_keep_their_number():
    data = (
        'image_url,expected_result\r\nhttps://a.example/1.jpg,"「え、\r\n""本当""?」,と"\r\n'
        "\r\n,\r\n"
        'https://a.example/2.jpg, "次"\r\n'
    )
    assert rows(data) == [
        Row(2, "https://a.example/1.jpg", '「え、\n"本当"?」,と'),
        Row(6, "https://a.example/2.jpg", "次"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("https://a.example/1.jpg", "1 of 2 columns"),
        ("https://a.example/1.jpg,", "ExpectedResult is empty"),
        ("https://a.example/1.jpg, 　 ", "ExpectedResult is empty"),
        (",line", "image_url is empty"),
        ("https://a.example/1.jpg," + "あ" * 342, "1026 bytes"),
        ("https://a.example/1.jpg,line,many", "score is 'many'"),
        ("https://a.example/1.jpg,line,nan", "score is 'nan'"),
        ("https://a.example/1.jpg,line,1e300", "score is '1e300'"),
        ("https://a.example/1.jpg,one, two", "needs quotes"),
        ("https://a.example/1.jpg,one,2,three", "4 columns instead of 3"),
        ("ftp://a.example/1.jpg,line", "must start with https://"),
        ("file:///etc/passwd,line", "must start with https://"),
        ("C:\\pictures\\1.jpg,line", "must start with https://"),
        ("https:///1.jpg,line", "names no host"),
        ("https://[1/1.jpg,line", "image_url"),
        ("s3://bucket,line", "names no bucket and key"),
        ('"https://a.example/1.jpg\nnext",line', "control characters"),
    ],
)
def test_one_bad_row_is_reported_with_its_line_and_stops_nothing(row, reason):
    header = "image_url,expected_result,score\n"
    found = rows(f"{header}https://a.example/a.jpg,before\n{row}\nhttps://a.example/b.jpg,after\n")
    assert [entry.line for entry in found if isinstance(entry, Row)] == ["before", "after"]
    (error,) = [entry for entry in found if isinstance(entry, RowError)]
    assert error.line == 3
    assert reason in error.reason
    assert str(error).startswith("line 3: ")


def test_a_line_of_exactly_1024_bytes_is_taken():
    assert rows("https://a.example/1.jpg," + "あ" * 341 + "!")[0].line.endswith("!")


def test_an_open_quote_is_reported_where_it_opens():
    data = 'https://a.example/1.jpg,good\nhttps://a.example/2.jpg,"open\n' + "https://a.example/3.jpg,lost\n" * 100
    first, error = rows(data)
    assert first.line == "good"
    assert error.line == 2
    assert "line 102" in error.reason
    assert "quote" in error.reason


def test_columns_that_nobody_reads_may_be_long():
    limit = csv.field_size_limit()
    data = f"image_url,expected_result,notes\nhttps://a.example/1.jpg,hi,{'x' * 500_000}\n"
    assert rows(data) == [Row(2, "https://a.example/1.jpg", "hi")]
    assert csv.field_size_limit() >= limit


def test_an_empty_file_has_no_rows():
    assert rows(b"") == []
    assert rows("\ufeffimage_url,expected_result\n\n") == []


def test_rows_are_grouped_by_picture_and_duplicates_counted():
    items = group(
        read_rows(
            io.BytesIO(
                b"image_url,expected_result,score,labels\n"
                b"https://a.example/image.jpg,one,1,\n"
                b"https://b.example/image.jpg,one,2,Dog/Cat\n"
                b"https://a.example/image.jpg,two,3,Bird\n"
                b"https://a.example/image.jpg,one,9,Fish\n"
                b"https://a.example/image.jpg,,9,Fish\n"
            )
        )
    )
    first, second = items.pictures
    assert first.lines == ((2, "one", 1.0), (4, "two", 3.0))
    assert first.labels == ("Bird",)
    assert second.lines == ((3, "one", 2.0),)
    assert second.labels == ("Dog", "Cat")
    assert (items.rows, items.duplicates, [error.line for error in items.errors]) == (5, 1, [6])


def test_two_sites_with_an_image_jpg_get_two_keys():
    items = group([Row(1, "https://a.example/image.jpg", "x"), Row(2, "https://b.example/image.jpg", "x")])
    keys = {picture.image_key for picture in items.pictures}
    assert len(keys) == 2
    assert all(key.startswith("image-") and key.endswith(".jpg") for key in keys)


def test_items_survive_json():
    items = group([Row(1, "https://a.example/1.jpg", "笑\n", 1.5, ("Dog",)), Row(2, "https://a.example/1.jpg", "x")])
    written = json.dumps([item.to_json() for item in items.pictures])
    assert [PictureItem.from_json(value) for value in json.loads(written)] == items.pictures


def test_no_rows_are_no_items():
    assert group([]) == Items([], [], 0, 0)
