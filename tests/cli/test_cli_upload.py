"""A CSV is looked at before it is uploaded, and followed afterwards."""

import json
import subprocess
import threading
import time

import pytest
from account import ROOT

from ogiri_aws.jobs import job_name
from ogiri_aws.uploads import Upload

HEADER = "image_url,expected_result,score\n"
ROWS = HEADER + "https://a.example/1.jpg,猫,3\nhttps://a.example/1.jpg,休憩,\ns3://other/2.jpg,犬,1\n"


@pytest.fixture
def csv(tmp_path):
    def csv(text: str | bytes, name: str = "rows.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return csv


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_a_csv_is_counted_and_uploaded_as_it_is(account, csv, encoding):
    path = csv(ROWS.encode(encoding), "お題 2026.csv")
    done = account.run("upload", path)
    assert done.returncode == 0, done.stderr
    assert "3 rows of 2 pictures" in done.stdout
    stored = account.aws.client("s3").get_object(Bucket=account.bucket, Key="uploads/お題 2026.csv")
    assert stored["Body"].read() == path.read_bytes()
    assert f"as version {stored['VersionId']}" in done.stdout
    assert "aws sagemaker describe-training-job --training-job-name ogiri-2026-" in done.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no row can be used"),
        (HEADER, "no row can be used"),
        ("image_url,score\nhttps://a.example/1.jpg,3\n", "no expected_result"),
        (ROWS.encode("utf-16"), "no CSV but an Excel workbook or UTF-16"),
        (b"\xff\xfe\xfd,\x80", "neither UTF-8 nor Shift_JIS"),
        (HEADER + "pictures/1.jpg,cat,\n", "nobody but this machine has it"),
        (HEADER + f"https://a.example/1.jpg,{'猫' * 400},\n", "1024"),
    ],
    ids=["empty", "header", "one-column", "utf-16", "noise", "path", "long"],
)
def test_what_no_ingest_could_use_is_not_uploaded(account, csv, text, reason):
    done = account.run("upload", csv(text))
    assert done.returncode == 1
    assert reason in done.stderr
    assert not account.versions("")


def test_single_bad_rows_are_told_with_their_lines_and_the_rest_is_uploaded(account, csv):
    done = account.run("upload", csv(ROWS + "pictures/1.jpg,cat,\nhttps://a.example/3.jpg,,\n"))
    assert done.returncode == 0
    assert "left out: line 5: image_url is 'pictures/1.jpg'" in done.stdout
    assert "left out: line 6: ExpectedResult is empty" in done.stdout
    assert account.versions("uploads/") == ["uploads/rows.csv"]


def test_a_name_that_would_start_nothing_is_refused(account, csv):
    path = csv(ROWS, "rows.txt")
    assert "--name" in account.run("upload", path).stderr
    assert account.run("upload", path, "--name", "new.csv").returncode == 0
    assert account.versions("") == ["uploads/new.csv"]


def test_the_script_is_the_command(account, csv):
    done = subprocess.run(
        [ROOT / "scripts" / "upload_csv.sh", csv(ROWS)],
        env=account.environment(),
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert account.versions("") == ["uploads/rows.csv"]


def test_the_windows_script_hands_everything_on():
    text = (ROOT / "scripts" / "upload_csv.bat").read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n")
    assert b"python -m cli upload %*" in text


def test_waiting_follows_the_execution_of_this_upload_and_tells_how_it_ended(account, csv):
    states = account.aws.client("stepfunctions")
    definition = {"StartAt": "Prepare", "States": {"Prepare": {"Type": "Pass", "End": True}}}
    role = "arn:aws:iam::123456789012:role/machine"
    machine = states.create_state_machine(name="ogiri-ingest", definition=json.dumps(definition), roleArn=role)
    arn = machine["stateMachineArn"]
    outcome = {}

    def rule() -> None:  # what EventBridge does
        deadline = time.monotonic() + 60
        while not account.versions("uploads/") and time.monotonic() < deadline:
            time.sleep(0.1)
        head = account.aws.client("s3").head_object(Bucket=account.bucket, Key="uploads/rows.csv")
        for key, version in (("uploads/other.csv", "x"), ("uploads/rows.csv", head["VersionId"])):
            entry = {"key": key, "version-id": version, "sequencer": "1"}
            detail = {"bucket": {"name": account.bucket}, "object": entry}
            event = {"detail-type": "Object Created", "source": "aws.s3", "detail": detail}
            started = states.start_execution(stateMachineArn=arn, name=key[8:-4], input=json.dumps(event))
        outcome["arn"] = started["executionArn"]
        time.sleep(5)
        states.stop_execution(executionArn=started["executionArn"], error="CsvError", cause="it is bad")

    thread = threading.Thread(target=rule)
    thread.start()
    done = account.run("upload", csv(ROWS), "--wait", "--timeout", "60", STATE_MACHINE_ARN=arn)
    thread.join()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "execution rows" in done.stdout
    assert "ABORTED" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_upload_that_starts_nothing_is_told_with_the_way_out(account, csv):
    states = account.aws.client("stepfunctions")
    definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    role = "arn:aws:iam::123456789012:role/machine"
    machine = states.create_state_machine(name=account.bucket, definition=definition, roleArn=role)["stateMachineArn"]
    done = account.run("upload", csv(ROWS), "--wait", "--timeout", "3", STATE_MACHINE_ARN=machine)
    assert done.returncode == 1
    assert f"has not begun with s3://{account.bucket}/uploads/rows.csv within 3 s" in done.stderr


def test_waiting_ends_with_the_time(account, csv):
    done = account.run("upload", csv(ROWS), "--wait", "--timeout", "3")
    assert done.returncode == 1
    assert "cannot be followed" in done.stdout
    assert "nothing more within 3 s" in done.stderr


@pytest.mark.parametrize(
    ("told", "said"), [("registered", "it awaits approval"), ("refused", "does not serve (refused)")]
)
def test_waiting_ends_when_somebody_was_told_that_the_model_does_not_serve(account, csv, told: str, said: str):
    sagemaker = account.aws.client("sagemaker")

    def machine() -> None:  # what the state machine, SageMaker and `end_training` do
        deadline = time.monotonic() + 60
        while not account.versions("uploads/") and time.monotonic() < deadline:
            time.sleep(0.1)
        version = account.aws.client("s3").head_object(Bucket=account.bucket, Key="uploads/rows.csv")["VersionId"]
        upload = Upload(account.bucket, "uploads/rows.csv", version, version)
        sagemaker.create_training_job(
            TrainingJobName=job_name("ogiri", upload, ""),
            AlgorithmSpecification={"TrainingImage": "ogiri", "TrainingInputMode": "File"},
            RoleArn="arn:aws:iam::123456789012:role/training",
            OutputDataConfig={"S3OutputPath": "s3://models"},
            ResourceConfig={"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
            Tags=[{"Key": "told", "Value": told}],
        )

    thread = threading.Thread(target=machine)
    thread.start()
    done = account.run("upload", csv(ROWS), "--wait", "--timeout", "60")
    thread.join()
    assert done.returncode == 1
    assert said in done.stdout
