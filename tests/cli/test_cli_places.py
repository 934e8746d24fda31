"""Names come from an option, a variable or the stack; whoever has none is told of all three."""

import json
import subprocess
import sys

import pytest
from account import ROOT

TEMPLATE = {
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    "Outputs": {"BucketName": {"Value": "the-bucket-of-the-stack"}},
}
CSV = "image_url,expected_result\nhttps://a.example/1.jpg,猫\n"


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    return path


def test_a_name_that_nobody_gives_is_asked_for_with_all_three_ways(account, rows):
    done = account.run("upload", rows, without=("BUCKET",))
    assert done.returncode == 1
    for way in ("--bucket", "BUCKET", "--stack", "'ogiri'", "does not exist"):
        assert way in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_is_stronger_than_a_variable_and_that_than_the_stack(account, rows):
    client = account.aws.client("cloudformation")
    client.create_stack(StackName="jokes", TemplateBody=json.dumps(TEMPLATE))
    account.aws.client("s3").create_bucket(
        Bucket="the-bucket-of-the-stack", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    by_stack = account.run("upload", rows, "--stack", "jokes", without=("BUCKET",))
    assert "uploaded s3://the-bucket-of-the-stack/uploads/rows.csv" in by_stack.stdout, by_stack.stderr
    assert f"uploaded s3://{account.bucket}/" in account.run("upload", rows, "--stack", "jokes").stdout
    option = account.run("upload", rows, "--bucket", account.bucket, BUCKET="another")
    assert f"uploaded s3://{account.bucket}/" in option.stdout


def test_a_bucket_that_is_not_there_is_an_error_and_no_trace(account, rows):
    done = account.run("upload", rows, "--bucket", "nobody-has-this")
    assert done.returncode == 1
    assert "NoSuchBucket" in done.stderr
    assert "Traceback" not in done.stderr


def test_boto3_is_all_that_a_command_needs_to_start():
    others = ("tqdm", "PIL", "requests", "aws_lambda_powertools", "numpy", "flask", "torch", "onnxruntime", "moto")
    code = f"import sys\nfor name in {others}: sys.modules[name] = None\nimport cli.__main__"
    paths = f"{ROOT}/container:{ROOT}/lambda/layer:{ROOT}"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_that_are_none_end_with_2(account):
    assert account.run("upload").returncode == 2
    assert account.run("upward").returncode == 2
