"""deploy.sh: what it hands to sam and puts into the bucket, so that the first job of an account finds its weights.

`sam` and `aws` are programs that note how they are called: the account is not part of this test.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from reading import ROOT

NOTE = """#!/bin/sh
{ printf '%s' "$(basename "$0")"; for word; do printf '\\037%s' "$word"; done; printf '\\036'; } >>"$NOTES"
case "$*" in
*BucketName*) echo ogiri-bucket ;;
*"ParameterKey=='TrainingHyperparameters'"*) echo "$DEPLOYED_HYPERPARAMETERS" ;;
*"ParameterKey=='Pretrained'"*) echo "$DEPLOYED_PRETRAINED" ;;
esac
"""
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/jokes:1"


@pytest.fixture
def deploy(tmp_path):
    """Runs the script in a copy; returns the process, the parameters that sam got, and what went into the bucket."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("aws", "sam"):
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    notes = tmp_path / "notes"

    def deploy(*arguments, deployed: dict | None = None, pretrained: str = ""):
        notes.write_text("")
        environment = {
            "PATH": os.pathsep.join([str(programs), os.path.dirname(sys.executable), os.environ["PATH"]]),
            "NOTES": str(notes),
            "DEPLOYED_HYPERPARAMETERS": json.dumps(deployed) if deployed is not None else "",
            "DEPLOYED_PRETRAINED": pretrained,
        }
        done = subprocess.run(
            [copy / "scripts" / "deploy.sh", "--image", IMAGE, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        calls = [call.split("\037") for call in notes.read_text().split("\036") if call]
        (sam,) = [call for call in calls if call[:2] == ["sam", "deploy"]] or [[]]
        put = {call[3]: call[4] for call in calls if call[:2] == ["aws", "s3"]}
        return done, parameters(sam), put

    return deploy


def parameters(sam: list[str]) -> dict[str, str]:
    """As sam reads them: its own expression for a value in quotes."""
    if not sam:
        return {}
    words = sam[sam.index("--parameter-overrides") + 1 :]
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        assert re.fullmatch(r'"(?:\\.|[^"\\]+)*"', value), word
        found[name] = value[1:-1].replace('\\"', '"')
    return found


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "resnet18-f37072fd.pth"
    path.write_bytes(b"weights")
    return path


def test_weights_are_found_by_the_first_job(deploy, weights):
    done, given, put = deploy("--encoder", weights, "--yes", 'TrainingHyperparameters={"epochs": 20, "x": "a b"}')
    assert done.returncode == 0, done.stderr
    assert put == {str(weights): "s3://ogiri-bucket/pretrained/resnet18.pth"}
    assert given["Pretrained"] == "true"
    assert json.loads(given["TrainingHyperparameters"]) == {"epochs": 20, "x": "a b", "encoder": "resnet18"}
    assert (given["ImageUri"], given["ImageRepository"]) == (IMAGE, "team/jokes")


def test_endpoints_may_have_an_image_of_their_own(deploy):
    _, given, _ = deploy("--no-encoder", "--yes")
    assert "ServingImageUri" not in given
    small = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/small@sha256:0a"
    for named in (["--serving-image", small], [f"ServingImageUri={small}"]):
        _, given, _ = deploy("--no-encoder", "--yes", *named)
        assert (given["ServingImageUri"], given["ServingImageRepository"]) == (small, "team/small")
    assert (given["ImageUri"], given["ImageRepository"]) == (IMAGE, "team/jokes")


def test_a_language_model_brings_its_decoder(deploy, weights, tmp_path):
    folder = tmp_path / "gpt2-small"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "spiece.model"):
        (folder / name).write_bytes(b"x")
    done, given, put = deploy("--encoder", weights, "--language-model", folder, "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(given["TrainingHyperparameters"]) == {
        **{"encoder": "resnet18", "language_model": "gpt2-small", "decoder": "gpt2"}
    }
    assert put[str(folder)] == "s3://ogiri-bucket/pretrained/gpt2-small"


def test_without_weights_the_first_job_trains_from_scratch_and_that_is_said(deploy):
    done, given, put = deploy("--no-encoder", "--yes")
    assert json.loads(given["TrainingHyperparameters"]) == {"encoder_weights": "none"}
    assert "trained from scratch" in done.stderr
    assert (put, "Pretrained" in given) == ({}, False)


def test_what_was_deployed_before_stays(deploy):
    earlier = {"encoder": "resnet18", "epochs": 9}
    _, given, _ = deploy("--no-encoder", "--yes", deployed=earlier, pretrained="true")
    assert json.loads(given["TrainingHyperparameters"]) == earlier
    _, given, _ = deploy("--no-encoder", "--yes", 'TrainingHyperparameters={"allow_download": true}')
    assert json.loads(given["TrainingHyperparameters"]) == {"allow_download": True}


@pytest.mark.parametrize(
    "hyperparameters", ['{"encoder": "resnet50"}', '{"encoder_weights": "none"}', "[1]", "{epochs: 1}"]
)
def test_hyperparameters_that_do_not_go_with_the_weights_stop_it(deploy, weights, hyperparameters):
    done, given, put = deploy("--encoder", weights, "--yes", f"TrainingHyperparameters={hyperparameters}")
    assert (done.returncode, given, put) == (1, {}, {})
    assert "TrainingHyperparameters" in done.stderr


def test_nobody_to_ask_and_nothing_said_stops_it(deploy):
    done, given, _ = deploy("--yes")
    assert (done.returncode, given) == (1, {})
    assert "--no-encoder" in done.stderr
