"""Stars that people gave become rows that the next upload takes."""

import csv
import json

import pytest
from account import picture


@pytest.fixture
def scored(account):
    account.put("captioned/a.png", picture("red"))
    account.put_result("one", "a.png", ("会議は踊る", 2, 9), ("休憩中", 0, 0))
    account.put_result("two", "a.png", ("会議は踊る", 1, 4), ("駄目だ", 3, 3))
    account.put_result("three", "gone.png", ("絵が無い", 1, 5))
    account.put_result("four", "", ("昔の答え", 1, 5))
    return account


def test_lines_with_stars_come_best_first(scored):
    done = scored.run("results")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line[:4] for line in lines[:-1]] == ["5.00", "5.00", "4.50", "4.00"]
    assert lines[-1] == "4 of 5 lines with stars"
    assert "休憩中" not in done.stdout


def test_json_has_one_object_a_line(scored):
    done = scored.run("results", "--json", "--min-stars", "0", "--min-votes", "2")
    found = {value["text"]: value for value in map(json.loads, done.stdout.splitlines())}
    assert set(found) == {"会議は踊る", "駄目だ"}
    assert found["会議は踊る"] | {"model": ""} == {
        **{"id": "one", "caption": 0, "image_key": "a.png", "text": "会議は踊る"},
        **{"votes": 2, "stars": 9.0, "mean": 4.5, "model": ""},
    }


def test_rows_go_through_upload_and_ingest_into_the_table(scored, tmp_path):
    rows = tmp_path / "rows.csv"
    done = scored.run("results", "--rows", rows)
    assert done.returncode == 0, done.stderr
    assert "1 rows of 1 pictures" in done.stdout
    assert "2 lines are left out: their pictures were not kept" in done.stdout
    with rows.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "image_url": f"s3://{scored.bucket}/captioned/a.png",
                "expected_result": "会議は踊る",
                "score": "13",
            }
        ]
    # labels keep the ingest from asking Rekognition, which is not part of this test
    labelled = rows.read_text().replace("score", "score,labels").replace(",13", ",13,Cat")
    rows.write_text(labelled)
    assert scored.run("upload", rows).returncode == 0
    scored.ingest("uploads/rows.csv")
    ((_, line),) = scored.records()
    assert line == "会議は踊る"


def test_a_share_of_stars_that_is_none_is_refused(scored):
    assert "0 to 5" in scored.run("results", "--min-stars", "7").stderr


def test_a_table_that_is_not_there_is_an_error(account):
    done = account.run("results", "--results-table", "nobody-has-this")
    assert (done.returncode, "nobody-has-this cannot be read" in done.stderr) == (1, True)
