"""`make demo` as a process, on twelve pictures and for one epoch."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from local.job import ROOT

COLOURS = ("red", "blue", "green", "orange", "purple", "white", "black", "yellow", "pink", "cyan", "brown", "gray")
SECONDS = 240


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_url", "expected_result", "score"))
        for number, colour in enumerate(COLOURS):
            image = Image.new("RGB", (160, 120), "skyblue")
            left, top = 9 * number, 7 * (number * 5 % 11)  # elsewhere in each: else they would be one for the split
            ImageDraw.Draw(image).ellipse((left, top, left + 30 + 5 * (number % 4), top + 40), fill=colour)
            image.save(folder / f"{colour}.png")
            writer.writerow((f"{colour}.png", f"{colour}の玉です。投げないでください", number))
            writer.writerow((f"{colour}.png", f"これは{colour}ですか", ""))
        writer.writerow(("missing.png", "どこにもない", ""))
        writer.writerow(("s3://nobodys/picture.png", "どこにもない", ""))
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "local.demo", *arguments]


def environment() -> dict[str, str]:
    paths = (ROOT / "container", ROOT / "lambda" / "layer", ROOT)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


def own_data(data: Path, out: Path) -> list[str]:
    return command("--csv", str(data / "rows.csv"), "--images", str(data), "--epochs", "1", "--out", str(out))


def test_from_a_csv_to_a_page_with_lines(data: Path, tmp_path: Path):
    small = ["--hyperparameter", "image_size=64", "--hyperparameter", "vocabulary=128"]
    done = subprocess.run(
        [*own_data(data, tmp_path), *small, "--hyperparameter", "validation_fraction=0.4"],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for number in range(1, 9):
        assert f"[{number}/8]" in done.stdout
    assert "No pretrained encoder" in done.stdout
    assert "left out: line 26: missing.png is not in the folder of pictures" in done.stdout
    assert "left out: line 27: s3://nobodys/picture.png: S3 answered NoSuchBucket" in done.stdout
    for name in ("Prepare", "Ingest", "StartTraining"):
        assert f"      {name}: " in done.stdout
    assert "12 pictures, records: 24" in done.stdout
    assert "Serve the model again:" in done.stdout
    assert (tmp_path / "model.tar.gz").is_file()
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert html.count("<article>") >= 1
    assert html.count('<small title="mean log-probability a token">') == 3 * html.count("<article>")


def test_a_failing_step_shows_its_own_message(data: Path, tmp_path: Path):
    arguments = ["--hyperparameter", "min_records=1000", "--out", str(tmp_path)]
    done = subprocess.run(
        own_data(data, tmp_path) + arguments, env=environment(), capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 1
    assert "AlgorithmError: UserError: " in done.stderr
    assert "min_records" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are listed in /proc, which this system has not")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_behind(data: Path, tmp_path: Path, number: signal.Signals):
    demo = subprocess.Popen(own_data(data, tmp_path), env=environment(), stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    guard = threading.Timer(SECONDS, demo.kill)
    guard.start()
    try:
        for line in demo.stdout:
            if line.startswith("[3/8]"):
                break
        started = children(demo.pid)
        assert len(started) >= 2
        demo.send_signal(number)
        demo.communicate()
    finally:
        guard.cancel()
        demo.kill()
    assert demo.returncode == 130
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in started):
        assert time.monotonic() < deadline, f"still there: {started}"
        time.sleep(0.05)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
