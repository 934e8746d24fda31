"""Take-down: everything of a picture or a line goes, stays away, and what stays is said."""

import json
import subprocess

import pytest
from account import ROOT, picture

from ogiri.record import image_key


@pytest.fixture
def filled(account):
    """Two pictures with two lines each, ingested from a CSV, one of them made of an answer of the API."""
    first = account.put("pictures/first.png", picture("red"))
    second = account.put("captioned/second.png", picture("blue"))
    rows = "".join(f"{url},{line},1,Cat\n" for url in (first, second) for line in ("犬が逃げた", "猫は笑う"))
    account.put("uploads/rows.csv", "image_url,expected_result,score,labels\n" + rows)
    account.put("uploads/notes.csv", "no picture here\n")
    account.ingest("uploads/rows.csv")
    account.put("ingest/run/batches/0.json", json.dumps({"Input": json.dumps({"key": image_key(first)})}))
    account.put("ingest/other/items.json", "[]")
    account.put_result("r1", "second.png", ("猫は笑う", 1, 5))
    account.put_result("r2", "third.png", ("別の絵", 1, 5))
    account.put("requests/r1.json", "{}")
    account.put_result("captions#1", "", RepeatStatus="COMPLETED", data=json.dumps([200, {"id": "r1"}]))
    account.put_result("captions#2", "", RepeatStatus="COMPLETED", data=json.dumps([200, {"id": "r2"}]))
    assert len(account.records()) == 4
    return account, first, second


def everything(account) -> tuple:
    return account.records(), account.versions(""), account.result_ids()


def test_without_yes_nothing_changes_and_what_would_go_is_shown(filled):
    account, first, _ = filled
    before = everything(account)
    done = account.run("forget", "--url", first)
    assert done.returncode == 0, done.stderr
    assert everything(account) == before
    for text in (
        image_key(first),
        "would be deleted",
        "nothing was deleted: --yes does it",
        "uploads/rows.csv has it in line 2, 3",
        "models/",
        "point-in-time recovery",
    ):
        assert text in done.stdout


def test_a_picture_goes_with_all_versions_and_no_upload_brings_it_back(filled):
    account, first, second = filled
    key = image_key(first)
    account.put(f"images/{key}", picture("green"))  # a second version
    account.aws.client("s3").delete_object(Bucket=account.bucket, Key=f"images/{key}")  # and a mark of deletion
    assert len(account.versions(f"images/{key}")) == 3
    done = account.run("forget", "--url", first, "--yes")
    assert done.returncode == 0, done.stderr
    assert account.records() == {(image_key(second), line) for line in ("犬が逃げた", "猫は笑う")}
    assert not account.versions(f"images/{key}")
    assert account.versions("ingest/") == ["ingest/other/items.json"]
    assert account.versions(f"images/{image_key(second)}")

    after = everything(account)
    assert account.run("forget", "--key", key, "--yes").returncode == 0  # again, by another of its names
    assert account.records() == after[0]
    state = account.ingest("uploads/rows.csv", "again")
    assert (state["lines"], state["rejected"]) == (2, 2)
    assert account.records() == after[0]
    assert not account.versions(f"images/{key}")


@pytest.mark.parametrize("name", ["result", "url", "key", "answer's key"])
def test_a_picture_of_the_api_goes_by_any_of_its_names_with_its_answers(filled, name):
    account, first, second = filled
    option = {
        "result": ("--result", "r1"),
        "url": ("--url", second),
        "key": ("--key", image_key(second)),
        "answer's key": ("--key", "second.png"),
    }[name]
    done = account.run("forget", *option, "--yes")
    assert done.returncode == 0, done.stderr
    assert account.result_ids() == {"r2", "captions#2"}
    assert not account.versions("captioned/")
    assert not account.versions("requests/")
    assert not account.versions(f"images/{image_key(second)}")
    assert {key for key, _ in account.records()} == {image_key(first)}


def test_one_line_goes_and_its_picture_stays(filled):
    account, first, _ = filled
    done = account.run("forget", "--url", first, "--line", " 猫は笑う ", "--yes")
    assert done.returncode == 0, done.stderr
    assert (image_key(first), "猫は笑う") not in account.records()
    assert len(account.records()) == 3
    assert account.versions(f"images/{image_key(first)}")
    assert account.result_ids() == {"r1", "r2", "captions#1", "captions#2"}
    account.ingest("uploads/rows.csv", "again")
    assert len(account.records()) == 3


def test_a_line_goes_wherever_it_is(filled):
    account, first, second = filled
    done = account.run("forget", "--line", "猫は笑う", "--yes")
    assert done.returncode == 0, done.stderr
    assert account.records() == {(image_key(url), "犬が逃げた") for url in (first, second)}
    assert account.result_ids() == {"r2", "captions#2"}
    assert account.versions("captioned/") == ["captioned/second.png"]
    assert "ingest/run/items.json" not in account.versions("ingest/")
    account.ingest("uploads/rows.csv", "again")
    assert account.records() == {(image_key(url), "犬が逃げた") for url in (first, second)}


def test_the_list_keeps_no_text_and_says_how_to_undo(filled):
    account, first, _ = filled
    done = account.run("forget", "--url", first, "--line", "猫は笑う", "--yes", "--json")
    (entry,) = json.loads(done.stdout)["forgotten"]
    assert account.versions("forgotten/") == [entry]
    assert account.aws.client("s3").get_object(Bucket=account.bucket, Key=entry)["Body"].read() == b""
    account.aws.client("s3").delete_object(Bucket=account.bucket, Key=entry)
    account.ingest("uploads/rows.csv", "again")
    assert len(account.records()) == 4


def test_files_of_an_upload_that_is_under_way_stay_and_that_is_said(filled):
    account, first, _ = filled
    states = account.aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 60, "End": True}}})
    role = "arn:aws:iam::123456789012:role/machine"
    machine = states.create_state_machine(name=account.bucket, definition=definition, roleArn=role)["stateMachineArn"]
    states.start_execution(stateMachineArn=machine, name="run", input="{}")
    done = account.run("forget", "--url", first, "--yes", STATE_MACHINE_ARN=machine)
    assert "ingest/run/items.json" in account.versions("ingest/")
    assert "uploads under way (run)" in done.stdout
    assert "its upload is still being ingested" in done.stdout


def test_without_a_table_of_answers_that_is_said(filled):
    account, first, _ = filled
    done = account.run("forget", "--url", first, "--yes", without=("RESULTS_TABLE_NAME",))
    assert done.returncode == 0, done.stderr
    assert "no table of answers is known" in done.stdout
    assert account.run("forget", "--result", "r1", without=("RESULTS_TABLE_NAME",)).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 1, "nothing is named"),
        (("--key", "a/b.jpg"), 1, "--url"),
        (("--key", "a.jpg", "--url", "https://a.example/a.jpg"), 2, "not allowed with"),
        (("--line", "  "), 1, "ExpectedResult is empty"),
        (("--result", "none"), 1, "there is no answer 'none'"),
    ],
)
def test_a_target_that_is_none_is_refused(account, arguments, code, text):
    done = account.run("forget", *arguments)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_the_script_is_the_command(filled):
    account, first, _ = filled
    done = subprocess.run(
        [ROOT / "scripts" / "forget.sh", "--url", first, "--yes"],
        env=account.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(account.records()) == 2
