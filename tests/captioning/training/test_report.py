"""What a job leaves beside its graphs; `test_report_page.py` has the page itself."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.lstm import LSTMDecoder
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.training.dataset import Dataset, build_dataset
from ogiri.captioning.training.evaluate import EvaluationSet, evaluate
from ogiri.captioning.training.fingerprint import data_fingerprint
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.model_card import plain
from ogiri.captioning.training.publish import publish_graphs
from ogiri.captioning.training.report import Outcome, facts, job_figures, write_report
from ogiri.captioning.training.report_page.figure import main_figures
from ogiri.task import TrainingContext
from tests.captioning.training.reported import HOSTILE, structure
from tests.captioning.training.small import Job, engine, gate_lines, hyperparameters, maps, records, small_encoder
from tests.contract.training import drawn


@pytest.fixture(scope="module")
def done(trained: Job, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A job that has come to its end, with pictures in its training channel."""
    folder = tmp_path_factory.mktemp("job")
    for name in ("training", "model"):
        (folder / name).mkdir()
    dataset, (model, progress) = trained.dataset, trained.run()
    for n, picture in enumerate((*dataset.train.pictures, *dataset.validation.pictures)):
        (folder / "training" / picture.key).write_bytes(drawn(n))
    part = dataset.validation
    data = EvaluationSet(
        "validation", part.pictures, part.examples.pictures[part.rows], part.examples.conditions, part.references
    )
    captioner = Captioner(engine(model.decoder, folder), dataset.tokenizer, dataset.limits, 20)
    quantization = publish_graphs(
        folder / "model", small_encoder(), model.decoder, dataset.tokenizer, gate_lines(dataset), True
    )
    return Outcome(
        context=TrainingContext(
            hyperparameters=trained.hp,
            channels={"training": folder / "training", "records": folder},
            model=folder / "model",
            output=folder / "output",
            checkpoints=folder,
            job_name=f"job-7 {HOSTILE[:-2]}",
            stopping=lambda: False,
            report_metrics=lambda metrics: None,
        ),
        facts=facts(trained.hp, records(), maps(), dataset, progress, quantization),
        dataset=dataset,
        progress=progress,
        quantization=quantization,
        model=model,
        device=torch.device("cpu"),
        data=data,
        evaluation=evaluate(captioner, data, set(), "character", lambda: False),
        seconds={"training": 1.5},
    )


def read(outcome: Outcome) -> tuple[dict[str, Any], str, str]:
    """metrics.json, report.html, MODEL_CARD.md."""
    write_report(outcome)
    output = outcome.context.output
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    card = (outcome.context.model / "MODEL_CARD.md").read_text(encoding="utf-8")
    return metrics, (output / "report.html").read_text(encoding="utf-8"), card


def test_page_and_card_say_the_numbers_of_metrics_json(done: Outcome):
    metrics, html, card = read(done)
    assert done.evaluation is not None
    assert metrics["free_running"] == done.evaluation.metrics
    words = structure(html).words
    found = main_figures(metrics)
    assert len(found) == 9
    for figure in found:
        assert f"{figure.name} {figure.value.replace(chr(0xA0), ' ')}" in words
        assert f"| {plain(figure.name)} | {plain(figure.value)} |" in card
    assert metrics["data"]["train"]["lines"] == len(done.dataset.train.examples)
    assert metrics["quantization"]["top1_agreement"] == done.quantization["top1_agreement"]
    assert metrics["pictures_on_both_sides"] == 0
    for warning in metrics["warnings"]:
        assert warning.partition(": ")[2].replace("  ", " ") in words


def test_the_page_shows_pictures_with_the_lines_of_the_samples_and_where_the_decoder_looked(done: Outcome):
    _, html, _ = read(done)
    found = structure(html)
    samples = [json.loads(line) for line in (done.context.output / "samples.jsonl").read_text().splitlines()]
    best, worst = max(samples, key=lambda one: one["chrf"]), min(samples, key=lambda one: one["chrf"])
    assert best["chrf"] > worst["chrf"]
    assert found.words.index(best["generated"]) < found.words.index(worst["generated"])
    assert found.tags.count("img") == len(samples)
    assert found.values("class").count("look") == 4
    assert best["generated"][:2] in "".join(found.text[found.text.index("Where it looked") :])


def test_a_hostile_name_of_a_job_stays_text(done: Outcome):
    _, html, card = read(done)
    assert "script" not in structure(html).tags
    assert "<script" not in card.split("```")[0]


def test_the_weights_lie_beside_the_page(done: Outcome):
    read(done)
    saved = safetensors.torch.load_file(done.context.output / "weights" / "decoder.safetensors")
    assert saved.keys() == done.model.decoder.state_dict().keys()
    assert list((done.context.output / "weights").iterdir()) == [
        done.context.output / "weights" / "decoder.safetensors"
    ]


def test_a_job_that_was_asked_to_end_has_a_report_too(done: Outcome, tmp_path: Path):
    context = dataclasses.replace(done.context, output=tmp_path / "output")
    metrics, html, card = read(dataclasses.replace(done, context=context, data=None, evaluation=None))
    assert metrics["free_running"] is None
    assert metrics["warnings"][0] == "not evaluated: the job was asked to end early"
    assert "There is no line to look at" in structure(html).words
    assert "not evaluated" in card
    assert (context.output / "samples.jsonl").read_text() == ""


class Mute(LSTMDecoder):
    """A decoder that does not tell where it looks."""

    attention = Decoder.attention


def test_a_decoder_that_does_not_tell_leaves_the_section_with_a_sentence(done: Outcome, tmp_path: Path):
    assert isinstance(done.model.decoder, LSTMDecoder)
    mute = Mute(done.model.decoder.dims)
    mute.load_state_dict(done.model.decoder.state_dict())
    context = dataclasses.replace(done.context, output=tmp_path / "output")
    _, html, _ = read(dataclasses.replace(done, context=context, model=Model(mute, None)))
    assert "This is not shown: Mute does not tell where it looks." in structure(html).words


def test_a_picture_on_both_sides_would_be_told(done: Outcome):
    leaking = dataclasses.replace(done.dataset, validation=done.dataset.train)
    figures = job_figures(dataclasses.replace(done, dataset=leaking))
    assert figures["pictures_on_both_sides"] == len(done.dataset.train)
    assert any(warning.startswith("leakage: ") for warning in figures["warnings"])


def test_the_fingerprint_is_of_the_data_and_not_of_the_split(done: Outcome):
    def fingerprint(dataset: Dataset) -> str:
        return data_fingerprint(dataset)

    same = fingerprint(done.dataset)
    assert fingerprint(build_dataset(records(), maps(), hyperparameters(seed=5))) == same
    assert fingerprint(build_dataset(records(), maps(broken=(3,)), hyperparameters())) != same
    train = done.dataset.train
    relabelled = [dataclasses.replace(train.pictures[0], detected_text="別の"), *train.pictures[1:]]
    assert fingerprint(dataclasses.replace(done.dataset, train=dataclasses.replace(train, pictures=relabelled))) != same
