from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.captioning import ranking
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.serving import search
from ogiri.captioning.serving.line import Caption
from tests.captioning.serving import tiny
from tests.captioning.serving.test_request import encoded

COLUMNS = ["bleu_4", "cider", "chrf", "distinct_2", "unique", "tokens", "characters", "cider_gap", "length"]


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Six pictures to be answered and one to be left alone."""
    folder = tmp_path / "collection"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(7):
        name = f"{number}.png"
        (folder / "images" / name).write_bytes(encoded(side=8 + number))
        rows.append({"image": name, "split": "dev" if number else "train", "captions": ["犬が歩く", f"{number}匹の猫"]})
    (folder / "captions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


@pytest.fixture
def model(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """An artifact whose lines differ in length."""
    defaults = {"temperature": 2, "max_length": 9}
    return tiny.write_artifact(tmp_path / "model", tokenizer.model, tokenizer.vocabulary, defaults=defaults)


def measured(monkeypatch: pytest.MonkeyPatch, collection: Path, model: Path, *options: str) -> dict[str, Any]:
    out = collection / "out" / "ranking.json"
    command = ["ranking", str(collection), str(model), "--language", "ja", "--out", str(out), *options]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(search, "REDRAWS", search.REDRAWS)  # the benchmark sets it, and this sets it back
    ranking.main()
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_every_ranking_gets_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], collection: Path, model: Path
):
    constants = ("--weights", "0", "1", "--exponents", "0", "1")
    result = measured(monkeypatch, collection, model, "--pool", "5", *constants)
    rows = {row["ranking"]: row for row in result["rankings"]}
    assert (result["pictures"], result["pool"], result["redraws"]) == (6, 5, 2)
    assert {"random", "shortest", "longest", "likelihood", "relevance 0", "relevance 1", "length_debiased 0"} < set(
        rows
    )
    assert all(isinstance(row[name], float) for row in rows.values() for name in COLUMNS)
    assert rows["relevance 0"] == {**rows["likelihood"], "ranking": "relevance 0"}
    assert rows["length_debiased 1"] == {**rows["likelihood"], "ranking": "length_debiased 1"}
    assert rows["shortest"]["tokens"] < rows["likelihood"]["tokens"] <= rows["longest"]["tokens"]
    assert (rows["shortest"]["length"], rows["longest"]["length"]) == (pytest.approx(-1), pytest.approx(1))
    assert capsys.readouterr().out.count("\n|") == len(rows) + 2


def test_redraws_and_pictures_can_be_chosen(monkeypatch: pytest.MonkeyPatch, collection: Path, model: Path):
    result = measured(monkeypatch, collection, model, "--pictures", "2", "--redraws", "0")
    assert (result["pictures"], result["redraws"]) == (2, 0)
    assert 0 < result["different_lines_in_a_pool"] <= 1


def test_a_length_correlation_compares_lines_of_one_picture():
    short = [Caption("a", -1.0, (3,)), Caption("b", -2.0, (3, 4))]
    long = [Caption("c", -9.0, (3,) * 9), Caption("d", -10.0, (3,) * 10)]
    assert ranking.length_correlation([short, long], lambda caption: caption.score) == pytest.approx(-1)
    assert ranking.length_correlation([short, long], lambda _: 1.0) == 0
