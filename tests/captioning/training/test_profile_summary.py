import dataclasses
import json
import time
from pathlib import Path

import pytest
import torch

from ogiri.captioning.training.fit import fit
from ogiri.captioning.training.profile_summary import PARTS, PROFILED_STEPS, Profile, WrittenProfile, page
from tests.captioning.training.small import Job, hyperparameters
from tests.contract.training import SMALL, TIMEOUT_SECONDS, Row, Training

CPU = torch.device("cpu")


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(f"{name} "))


def trained(folder: Path, profile: Profile, **values: object) -> Job:
    """Two epochs; what is reported of each has the time when it came, `at`."""
    job = Job(folder, hyperparameters(epochs=2, batch_size=2, patience=0, **values))
    report = profile.following(lambda metrics: job.reported.append({**metrics, "at": time.monotonic()}))
    fit(job.model(), dataclasses.replace(job.fitting(), profile=profile, report_metrics=report))
    return job


def test_each_epoch_has_its_seconds_and_they_add_up_to_what_the_training_took(tmp_path: Path):
    profile = WrittenProfile(tmp_path, CPU)
    began = time.monotonic()
    job = trained(tmp_path, profile)
    took = time.monotonic() - began
    profile.write({"training": took})
    text = (tmp_path / "profile.txt").read_text()
    epochs = [dict(zip(PARTS, map(float, row(text, str(n))[1:]), strict=True)) for n in (1, 2)]
    for epoch, reported in zip(epochs, job.reported, strict=True):
        assert all(epoch[name] > 0 for name in ("forward", "backward", "validation"))
        steps = sum(epoch[name] for name in ("data", "forward", "backward", "optimizer"))
        assert steps <= reported["epoch_seconds"] + 0.05
    assert sum(sum(epoch.values()) for epoch in epochs) <= took + 0.1
    assert [len(row(text, name)) for name in ("all", "share")] == [3, 1 + len(PARTS)]


def test_the_first_steps_are_traced_once(tmp_path: Path):
    profile = WrittenProfile(tmp_path, CPU)
    trained(tmp_path, profile)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    steps = [one for one in events if one.get("name", "").startswith("Optimizer.step") and one.get("ph") == "X"]
    assert len(steps) == PROFILED_STEPS
    profile.write({})
    text = (tmp_path / "profile.txt").read_text()
    operators = text[text.index("Operators of the first 10 steps") :].splitlines()
    assert any(line.startswith("aten::") and float(line.split()[1]) >= 0 for line in operators)


def test_self_critical_epochs_are_told_apart_from_their_validation(tmp_path: Path):
    profile = WrittenProfile(tmp_path, CPU)
    job = trained(tmp_path, profile, scst_epochs=1)
    profile.write({})
    found = dict(zip(PARTS, map(float, row((tmp_path / "profile.txt").read_text(), "3")[1:]), strict=True))
    assert found["forward"] == found["optimizer"] == 0
    assert found["rest"] == pytest.approx(job.reported[2]["epoch_seconds"], abs=0.01)
    assert sum(found.values()) == pytest.approx(job.reported[2]["at"] - job.reported[1]["at"], abs=0.03)


def test_a_job_that_asks_for_no_profile_writes_none_and_learns_the_same(tmp_path: Path):
    for name in ("plain", "profiled"):
        (tmp_path / name).mkdir()
    plain = trained(tmp_path / "plain", Profile())
    profiled = trained(tmp_path / "profiled", WrittenProfile(tmp_path / "profiled", CPU))
    assert not list((tmp_path / "plain").glob("*.json"))
    losses = [[one["validation_loss"] for one in job.reported] for job in (plain, profiled)]
    assert losses[0] == losses[1]


def test_the_page_gives_shares_of_the_whole_and_the_slowest_operators_first():
    epoch = {"epoch": 1, **dict.fromkeys(PARTS, 0.0), "data": 1.0, "backward": 3.0}
    operators = [("small", 0.5, 1), ("large", 1.5, 1200)]
    text = page({"records": 1.0, "training": 9.0}, [epoch], operators)
    assert row(text, "training") == ["training", "9.00", "90.0%"]
    assert row(text, "share")[1:] == ["25.0%", "0.0%", "75.0%", "0.0%", "0.0%", "0.0%"]
    assert row(text, "large") == ["large", "1.50", "75.0%", "1,200"]
    assert text.index("large") < text.index("small")


def test_the_page_of_a_job_that_went_on_says_that_nothing_was_traced():
    assert "went on from a checkpoint" in page({"training": 1.0}, [], [])


def test_a_job_with_profile_leaves_page_and_trace_among_its_output(tmp_path: Path):
    training = Training(tmp_path, {**SMALL, "profile": "true"})
    rows = [Row(f"{n:02}.png", f"犬が{n}回笑う", n) for n in range(16)]
    training.draw(rows)
    training.list(one.item() for one in rows)
    process = training.start()
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0
    text = (training.output / "profile.txt").read_text()
    parts = ("records", "pictures", "training", "export", "evaluation", "report")
    seconds = [float(row(text, part)[1]) for part in parts]
    assert sum(seconds) == pytest.approx(float(row(text, "all")[1]), abs=0.05)
    assert len(row(text, str(SMALL["epochs"]))) == 1 + len(PARTS)
    assert (training.output / "trace.json").is_file()
