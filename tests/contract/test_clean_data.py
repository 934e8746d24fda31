"""What the real `train` leaves out of its data, and that the model keeps to the banned words once it is served."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ogiri.artifact import open_artifact, write_manifest
from tests.contract.server import SERVE, Starter
from tests.contract.training import SMALL, Row, Training, drawn

PICTURES = 20
COPIED = ["03.png", "11.png"]  # each comes a second time, smaller and in another format
BAD = {
    "00.png": ("詳しくは https://example.com/a", "a link"),
    "01.png": ("犬\t猫", "a control character"),
    "02.png": ("長" * 41, "more than 40 characters"),
    "03.png": ("こんな所でngワ ード", "a banned word"),
    "lost.png": ("ダメ！", "a banned word"),
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Training:
    hyperparameters = {"max_characters": "40", "banned_words": "ｄａｍｅ|ダメ", "banned_words_file": "ng.txt"}
    job = Training(tmp_path_factory.mktemp("clean"), {**SMALL, "epochs": "1", **hyperparameters})
    rows = [Row(f"{n:02}.png", f"{n}匹の{end}", n) for n in range(PICTURES) for end in ("犬が笑う", "猫！")]
    job.draw(rows)
    for key in COPIED:
        image = Image.open(io.BytesIO(drawn(int(key[:2])))).resize((64, 48))
        image.save(job.channel("training") / f"copy of {key}", "jpeg")
        rows.append(Row(f"copy of {key}", "1匹の犬が笑う", 0))
    job.list(row.item() for row in [*rows, *(Row(key, line, 0) for key, (line, _) in BAD.items())])
    (job.channel("records") / "ng.txt").write_text("ＮＧワード\n\n犬だらけ\n", encoding="utf-8")
    ended = job.run()
    assert ended.status == 0, ended.err
    assert "2 banned words from " in ended.err
    assert "5 of 47 lines are left out, and with them 1 of 23 pictures" in ended.err
    return job


def figures(job: Training) -> Any:
    return json.loads((job.output / "metrics.json").read_text(encoding="utf-8"))["data"]


def test_lists_every_line_that_was_left_out(job: Training):
    text = (job.output / "dropped.jsonl").read_text(encoding="utf-8")
    listed = {one["image_key"]: (one["line"], one["reason"]) for one in map(json.loads, text.splitlines())}
    assert listed == BAD
    assert {one["reason"]: one["count"] for one in figures(job)["dropped_lines"]} == {
        "a banned word": 2, "a link": 1, "a control character": 1, "more than 40 characters": 1
    }  # fmt: skip


def test_a_picture_and_its_copy_are_on_one_side(job: Training):
    data = figures(job)
    assert sorted(data["near_duplicates"]["examples"]) == [[key, f"copy of {key}"] for key in COPIED]
    sides = data["train"], data["validation"]
    assert sum(side["pictures"] for side in sides) == PICTURES + 2
    assert sum(side["groups"] for side in sides) == PICTURES


def test_the_artifact_has_the_banned_words(job: Training):
    assert open_artifact(job.model).manifest["decoding"]["banned_words"] == "banned_words.txt"
    words = "ｄａｍｅ\nダメ\nＮＧワード\n犬だらけ\n"
    assert (job.model / "banned_words.txt").read_text(encoding="utf-8") == words


def test_serve_never_writes_what_the_artifact_bans(job: Training, start: Starter, tmp_path: Path):
    asked = {
        "image": base64.b64encode(drawn(0)).decode(),
        "parameters": {"seed": 1, "num_candidates": 8, "banned_words": ["~"]},
    }

    def served(base: Path) -> str:
        server = start(base, program=SERVE)
        server.wait_for_ping(200)
        return "".join(caption["text"] for caption in server.invoke(asked).json()["captions"])

    written = served(job.base)
    folder = shutil.copytree(job.model, tmp_path / "model")
    with (folder / "banned_words.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{character}\n" for character in written[:5])
    write_manifest(folder, json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    assert not set(written[:5].casefold()) & set(served(tmp_path).casefold())
