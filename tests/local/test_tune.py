"""`make tune` as a process: two real trials on a dozen drawn pictures; and what lies where afterwards."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.job import ROOT
from local.tune_folders import TuneFolders
from ogiri.artifact import open_artifact
from tests.contract.training import drawn

PICTURES = 12
SECONDS = 600


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_url", "expected_result", "score"))
        for number in range(PICTURES):
            (folder / f"{number}.png").write_bytes(drawn(number))
            writer.writerow((f"{number}.png", f"{'犬猫鳥魚'[number % 4]}が逃げた！", number))
            writer.writerow((f"{number}.png", f"これは{number}回目ですか", ""))
    return folder


def start(data: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = (ROOT / "container", ROOT / "lambda" / "layer", ROOT)
    small = {"image_size": "64", "vocabulary": "128", "validation_fraction": "0.4", "min_records": "4"}
    pairs = [part for pair in small.items() for part in ("--hyperparameter", "=".join(pair))]
    own = ["--csv", str(data / "rows.csv"), "--images", str(data), "--epochs", "2", "--out", str(out), *pairs]
    return subprocess.run(
        [sys.executable, "-m", "local.tune", *own, "--metric", "validation_loss", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def searched(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneFolders, str]:
    out = tmp_path_factory.mktemp("search") / "tune"
    done = start(data, out, "--trials", "2", "--parameter", "learning_rate", "--parameter", "batch_size")
    assert done.returncode == 0, done.stdout + done.stderr
    return TuneFolders(out), done.stdout


def figures(folders: TuneFolders) -> dict[str, object]:
    return json.loads((folders.best / "output" / "data" / "metrics.json").read_text(encoding="utf-8"))


def test_the_first_trial_is_the_demos_own_and_the_second_another(searched: tuple[TuneFolders, str]):
    _, said = searched
    assert re.search(r"\[4/5\] Trial 1 of 2: learning_rate=0.001 batch_size=64\n", said)
    assert re.search(r"\[5/5\] Trial 2 of 2: learning_rate=0.00\d+ batch_size=\d+\n", said)
    assert len(re.findall(r"validation_loss [\d.]+ in 2 epochs", said)) == 2


def test_the_second_trial_encodes_no_picture(searched: tuple[TuneFolders, str]):
    folders, _ = searched
    log = "what is needed of 12 pictures is there already"
    assert [log in folders.log(number).read_text(encoding="utf-8") for number in (0, 1)] == [False, True]


def test_the_best_trial_is_kept_and_its_hyperparameters_are_said(searched: tuple[TuneFolders, str]):
    folders, said = searched
    best = json.loads(folders.best_file.read_text(encoding="utf-8"))
    measured = figures(folders)
    assert open_artifact(folders.best / "model").manifest["quantization"]["decoder"] == "none"
    assert measured["hyperparameters"]["learning_rate"] == float(best["learning_rate"])
    assert (best["select_by"], best["epochs"]) == ("loss", "2")
    assert "quantize" not in best
    assert json.dumps(best, indent=2) in said
    assert f"learning_rate={best['learning_rate']}" in re.search(r"make demo CSV=.*", said).group()
    least = min(epoch["validation_loss"] for epoch in measured["history"])
    first_row = re.search(r"^ *trial .*\n *(\d) +done +([\d.]+) ", said, re.MULTILINE)
    assert float(first_row.group(2)) == pytest.approx(least, rel=1e-3)
    assert f"<td>{first_row.group(2)}</td>" in folders.page.read_text(encoding="utf-8")
    assert not folders.trial.exists()


def test_a_finished_search_starts_nothing_and_says_the_same(data: Path, searched: tuple[TuneFolders, str]):
    folders, said = searched
    again = start(data, folders.out, "--trials", "2", "--parameter", "learning_rate", "--parameter", "batch_size")
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == said[said.index("\n\n") :].strip()


def test_what_every_trial_would_fail_of_ends_the_search(data: Path, searched: tuple[TuneFolders, str]):
    folders, _ = searched
    failed = start(data, folders.out, "--hyperparameter", "min_records=1000")
    assert failed.returncode == 1
    assert "[1/8] Trial 1 of 8" in failed.stdout  # the data is there already
    assert "tune: UserError: " in failed.stderr
    assert "min_records" in failed.stderr
    assert "Traceback" not in failed.stderr


# --- pictures that a trial has encoded -------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> TuneFolders:
    folders = TuneFolders(tmp_path)
    (folders.trial / "checkpoints").mkdir(parents=True)
    return folders


def test_pictures_go_from_trial_to_trial_and_nothing_else(folders: TuneFolders):
    names = ["feature_maps.f16.sagemaker-ignore", "feature_maps.f16.sagemaker-ignore.json.sagemaker-ignore"]
    for name in (*names, "training.pt"):
        (folders.trial / "checkpoints" / name).write_text(name)
    folders.keep_pictures()
    folders.end_trial(keep=False)
    folders.lend_pictures()
    assert sorted(path.name for path in (folders.trial / "checkpoints").iterdir()) == names


def test_data_and_description_are_always_of_the_same_trial(folders: TuneFolders):
    """A job that cannot use what it was lent writes over the data, which is the same file, but not the description."""
    data, description = (folders.trial / "checkpoints" / f"pixels{end}" for end in ("", ".json"))
    data.write_text("first")
    description.write_text("of the first")
    folders.keep_pictures()
    description.unlink()
    data.write_text("second")
    description.write_text("of the second")
    folders.keep_pictures()
    assert sorted(path.read_text() for path in folders.pictures.iterdir()) == ["of the second", "second"]


def test_the_best_trials_folder_takes_the_place_of_the_one_before(folders: TuneFolders):
    for number in "12":
        (folders.trial / "model").mkdir(parents=True)
        (folders.trial / "model" / "number").write_text(number)
        folders.end_trial(keep=True)
    assert (folders.best / "model" / "number").read_text() == "2"
    assert not (folders.best / "checkpoints").exists()
