import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.report_run import changed, command, machine, reproduction, versions
from ogiri.parameter import from_strings
from tests.captioning.training.small import hyperparameters

HP = hyperparameters(augmentation=False, encoder="mobilenet_v2", seed=7)


def test_only_what_differs_from_the_defaults_is_told_and_it_gives_the_same_hyperparameters():
    found = changed(HP)
    assert found["seed"] == "7"
    assert found["augmentation"] == "false"
    assert "weight_decay" not in found
    assert from_strings(CaptionHyperparameters, found) == HP
    assert changed(CaptionHyperparameters()) == {}


@pytest.mark.parametrize("job_name", ["job-7", "a 'quoted' $(touch hacked) name"])
def test_the_command_lays_out_the_folders_and_starts_the_container(tmp_path: Path, job_name: str):
    # Docker itself cannot be counted on: a program of its name writes down what it is asked.
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    docker.chmod(0o755)
    lines = command(job_name, HP, ["records", "training"], {"OGIRI_IMAGE": "registry/ogiri:1"})
    environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", lines], cwd=tmp_path, env=environment, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        "run", "--rm", "-v", f"{tmp_path}/ml:/opt/ml",
        "-e", f"TRAINING_JOB_NAME={job_name}", "registry/ogiri:1", "train",
    ]  # fmt: skip
    config = json.loads((tmp_path / "ml/input/config/hyperparameters.json").read_text())
    assert from_strings(CaptionHyperparameters, config) == HP
    assert {path.name for path in (tmp_path / "ml/input/data").iterdir()} == {"records", "training"}
    assert not (tmp_path / "hacked").exists()


def test_a_job_that_read_the_table_is_given_table_and_credentials():
    found = command("job", HP, ["training"], {"DYNAMODB_TABLE_NAME": "My Table"})
    assert "-e DYNAMODB_TABLE_NAME='My Table' -e AWS_REGION" in found
    assert "AWS_SECRET_ACCESS_KEY " in found  # its name alone: docker takes the value from the caller's environment
    assert "AWS_" not in command("job", HP, ["records", "training"], {})


def test_image_and_commit_are_told_where_the_image_knows_them():
    known = reproduction(
        "job", HP, {"training": 1, "records": 1}, "ab", {"OGIRI_IMAGE": "i:1", "OGIRI_COMMIT": "c0ffee"}
    )
    assert (known["image"], known["commit"], known["data_fingerprint"]) == ("i:1", "c0ffee", "ab")
    assert known["channels"] == ["records", "training"]
    unknown = reproduction("job", HP, ["training"], "ab", {})
    assert (unknown["image"], unknown["commit"]) == ("", "")
    assert " IMAGE train" in unknown["command"]


def test_machine_and_versions_are_words():
    found = {**machine(torch.device("cpu")), **versions()}
    assert found["GPU"] == "none"
    assert found["threads"] == str(torch.get_num_threads())
    assert found["torch"] == torch.__version__
    assert all(found.values())
    json.dumps(found)
