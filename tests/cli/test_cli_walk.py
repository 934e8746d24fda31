"""A CSV becomes a model by way of the commands, and the model answers by every way that they know."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from account import Account, call, new_account, picture

from local.sagemaker.service import local_sagemaker
from ogiri_aws.uploads import UploadError
from tests.contract.training import SMALL
from tests.listening import listening

COLOURS = ("red", "green", "blue", "black", "white", "orange", "purple", "brown", "pink", "gray", "cyan", "olive")
ENDPOINT = "ogiri-serverless"


@contextlib.contextmanager
def api(account: Account) -> Iterator[str]:
    """`caption_api` behind HTTP, as API Gateway calls it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            place = urlsplit(self.path)
            answer = call(
                "caption_api",
                {
                    "version": "2.0",
                    "rawPath": place.path,
                    "headers": {name.lower(): value for name, value in self.headers.items()},
                    "queryStringParameters": dict(parse_qsl(place.query)),
                    "requestContext": {"http": {"method": self.command}, "stage": "$default"},
                    "body": base64.b64encode(body).decode(),
                    "isBase64Encoded": True,
                },
            )
            data = answer["body"].encode()
            self.send_response(answer["statusCode"])
            for name, value in {**answer["headers"], "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def walked(cloud_of_commands, tmp_path_factory):
    """An account whose endpoint serves what `upload --wait` followed; with what the command printed."""
    account = new_account(cloud_of_commands)
    folder = tmp_path_factory.mktemp("walk")
    rows = ["image_url,expected_result,score,labels"]
    for number, colour in enumerate(COLOURS):
        url = account.put(f"pictures/{colour}.png", picture(colour))
        rows += [f"{url},犬が{number}回逃げた,{number},Dog", f"{url},猫は{number}回笑う,,Dog"]
    csv = folder / "rows.csv"
    csv.write_text("\n".join(rows))
    topic = account.aws.client("sns").create_topic(Name="ogiri")["TopicArn"]
    settings = {
        "TOPIC_ARN": topic,
        "TRAINING_HYPERPARAMETERS": json.dumps({**SMALL, "epochs": "1", "min_records": "2"}),
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(account.applied(**settings))
        environment = account.environment(**settings)
        target = lambda event: call("end_training", event)  # noqa: E731
        url = stack.enter_context(local_sagemaker(environment, folder / "sagemaker", targets=[target]))
        addresses = {"AWS_ENDPOINT_URL_SAGEMAKER": url, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url}
        stack.enter_context(account.applied(**settings, **addresses))

        def machine() -> None:  # what EventBridge and the state machine do
            deadline = time.monotonic() + 60
            while not account.versions("uploads/") and time.monotonic() < deadline:
                time.sleep(0.1)
            version = boto3.client("s3").head_object(Bucket=account.bucket, Key="uploads/rows.csv")["VersionId"]
            upload = {"bucket": account.bucket, "key": "uploads/rows.csv", "version": version, "version_id": version}
            state = call("prepare", {"execution": "run", "upload": upload})
            items = json.loads(boto3.client("s3").get_object(Bucket=account.bucket, Key=state["key"])["Body"].read())
            batch = {"Items": items, "BatchInput": {"execution": "run"}}
            while batch.get("unfinished", 1):
                batch = call("ingest", batch)
            call("start_training", {"execution": "run", "upload": upload})

        thread = threading.Thread(target=machine)
        thread.start()
        done = account.run("upload", csv, "--wait", "--timeout", "240", **addresses)
        thread.join()
        yield account, done, addresses, folder


@pytest.fixture
def ask(walked, tmp_path):
    """Runs `caption` with pictures of these colours."""
    account, _, addresses, _ = walked

    def ask(*arguments, colours=("red",)):
        paths = []
        for colour in colours:
            paths.append(tmp_path / f"{colour}.png")
            paths[-1].write_bytes(picture(colour))
        return account.run("caption", *paths, *arguments, **addresses)

    return ask


@pytest.fixture(scope="module")
def model(walked):
    account, _, _, folder = walked
    pages = boto3.client("s3").list_objects_v2(Bucket=account.bucket, Prefix="models/")["Contents"]
    (key,) = (entry["Key"] for entry in pages if entry["Key"].endswith("model.tar.gz"))
    path = folder / "model.tar.gz"
    boto3.client("s3").download_file(account.bucket, key, str(path))
    return path


def test_every_step_is_printed_until_the_endpoint_serves_the_new_model(walked):
    _, done, _, _ = walked
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line[10:].split(maxsplit=2) for line in done.stdout.splitlines() if line[:2].isdigit()]
    assert [what for what, *_ in steps] == sorted(
        (what for what, *_ in steps), key=["state", "training", "endpoint"].index
    )
    for text in (
        "Starting",
        "Training",
        "Uploading",
        "Completed",
        "validation_nats_per_character",
        f"{ENDPOINT} serves ogiri-rows-",
    ):
        assert text in done.stdout, text


def test_the_endpoint_of_the_account_answers_without_being_named(ask):
    done = ask()
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_several_pictures_have_their_names_and_so_many_lines(ask):
    done = ask("--endpoint", ENDPOINT, "--candidates", "2", "--parameter", "seed=1", colours=("red", "blue"))
    lines = done.stdout.splitlines()
    assert [lines[0].endswith("red.png:"), lines[3].endswith("blue.png:"), len(lines)] == [True, True, 6]


def test_a_bad_picture_fails_alone_and_what_the_model_says_is_told(ask, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    done = ask(bad, tmp_path / "missing.png", "--json")
    assert done.returncode == 1
    red, noise, missing = map(json.loads, done.stdout.splitlines())
    assert red["captions"][0]["text"]
    assert "picture" in noise["error"]
    assert "No such file" in missing["error"]
    done = ask("--parameter", "temperature=9")
    assert (done.returncode, "temperature" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_an_endpoint_that_is_not_there_is_told(ask):
    done = ask("--endpoint", "nobody-has-this")
    assert (done.returncode, "nobody-has-this" in done.stderr) == (1, True)


def test_an_artifact_answers_by_the_real_server_as_the_endpoint_does(ask, model, tmp_path):
    arguments = ("--parameter", "seed=7", "--json")
    by_endpoint, by_tar = json.loads(ask(*arguments).stdout), json.loads(ask(*arguments, "--model", model).stdout)
    assert by_tar == by_endpoint
    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", model, "-C", folder], check=True)
    assert json.loads(ask(*arguments, "--model", folder).stdout) == by_endpoint


def test_a_folder_that_is_no_artifact_is_told(ask, tmp_path):
    done = ask("--model", tmp_path)
    assert (done.returncode, "no artifact of this image" in done.stderr) == (1, True)
    assert ask("--model", tmp_path, "--api", "http://127.0.0.1:1").returncode == 1


def test_the_api_answers_and_stars_become_rows_that_can_be_taken_down(walked, ask, tmp_path):
    account = walked[0]
    with api(account) as url:
        done = ask("--api", url, "--candidates", "2", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert len(answer["captions"]) == 2
        request = [
            sys.executable,
            "-c",
            "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], b'{\"score\": 5}'))",
        ]
        subprocess.run([*request, f"{url}/results/{answer['id']}/score"], check=True, timeout=60)
        refused = ask("--api", url, "--parameter", "temperature=9")
        assert (refused.returncode, "the API answered 400: temperature" in refused.stderr) == (1, True)
    rows = tmp_path / "rows.csv"
    assert "1 rows of 1 pictures" in account.run("results", "--rows", rows).stdout
    done = account.run("forget", "--result", answer["id"], "--yes")
    assert done.returncode == 0, done.stderr
    assert not account.versions("captioned/")
    account.put("uploads/answers.csv", rows.read_bytes())
    with pytest.raises(UploadError, match="was taken down"):
        account.ingest("uploads/answers.csv", "answers")


def test_inspect_shows_what_is_in_an_artifact(walked, model):
    account = walked[0]
    done = account.run("inspect", model)
    assert done.returncode == 0, done.stderr
    for text in (
        "task            caption",
        "decoder.onnx",
        "nats_per_token",
        "validation_nats_per_character",
        "warnings",
    ):
        assert text in done.stdout, text
    manifest = json.loads(account.run("inspect", model, "--json").stdout)
    assert manifest["task"] == "caption"
    assert manifest["warnings"]  # twelve pictures are too few for anything


def repacked(model, out, change):
    with tarfile.open(model) as old, tarfile.open(out, "w:gz") as new:
        for member in old:
            data = old.extractfile(member).read()
            for name, body in change(member.name, data):
                info = tarfile.TarInfo(name)
                info.size = len(body)
                new.addfile(info, io.BytesIO(body))
    return out


def test_inspect_refuses_what_is_not_whole_and_opens_no_pickle(walked, model, tmp_path):
    account = walked[0]
    damaged = repacked(
        model,
        tmp_path / "damaged.tar.gz",
        lambda name, data: [(name, data[:-1] + b"x" if name == "decoder.onnx" else data)],
    )
    done = account.run("inspect", damaged)
    assert (done.returncode, "decoder.onnx has SHA-256" in done.stderr) == (1, True)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(model.read_bytes()[:-1000])
    assert account.run("inspect", cut).returncode == 1
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    extra = repacked(
        model,
        tmp_path / "extra.tar.gz",
        lambda name, data: [(name, data), *([("weights.pkl", evil)] if name == "manifest.json" else [])],
    )
    done = account.run("inspect", extra)
    assert done.returncode == 0, done.stderr
    assert "weights.pkl is not in the manifest" in done.stdout
    assert "weights.pkl may be a pickle" in done.stdout
    assert not (tmp_path / "ran").exists()
    leaving = repacked(model, tmp_path / "leaving.tar.gz", lambda name, data: [("../" + name, data)])
    assert "leaves the folder" in account.run("inspect", leaving).stderr
