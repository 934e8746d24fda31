import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ogiri.captioning.model.lstm import LSTMDecoder
from ogiri.captioning.serving.captioner import Captioner
from ogiri.captioning.training.dataset import Part
from ogiri.captioning.training.evaluate import Evaluation, EvaluationSet, evaluate
from ogiri.captioning.training.metrics import caption_scores, line_chrf
from tests.captioning.training.small import Job, engine, stop_after


@pytest.fixture(scope="module")
def captioner(trained: Job, tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    return as_captioner(trained.run()[0].decoder, trained, tmp_path_factory.mktemp("graph"))


def as_captioner(decoder: LSTMDecoder, job: Job, folder: Path) -> Captioner:
    return Captioner(engine(decoder, folder), job.dataset.tokenizer, job.dataset.limits, 20)


def evaluation_set(part: Part, split: str = "validation") -> EvaluationSet:
    maps = part.examples.pictures[part.examples.rows]
    return EvaluationSet(split, part.pictures, maps, part.examples.conditions, part.references)


def run(captioner: Captioner, job: Job, split: str = "validation", lines: set[str] = frozenset()) -> Evaluation:
    part = job.dataset.validation if split == "validation" else job.dataset.train
    found = evaluate(captioner, evaluation_set(part, split), lines, "character", lambda: False)
    assert found is not None
    return found


def test_figures_are_those_of_the_lines_in_the_samples(captioner: Captioner, trained: Job):
    found = run(captioner, trained, "train")
    lines = [sample["generated"] for sample in found.samples]
    scores = caption_scores(lines, trained.dataset.train.references, "character")
    assert (found.metrics["bleu_4"], found.metrics["cider"]) == pytest.approx((scores.bleu[3], scores.cider))
    assert found.metrics["pictures"] == len(lines) == len(trained.dataset.train)
    assert found.metrics["variety"]["beam"]["unique"] == len(set(lines)) / len(lines)
    json.dumps([found.metrics, found.samples], allow_nan=False)


def test_samples_name_picture_references_and_candidates(captioner: Captioner, trained: Job):
    part = trained.dataset.validation
    samples = run(captioner, trained).samples
    assert [sample["image_key"] for sample in samples] == [picture.key for picture in part.pictures]
    assert [sample["references"] for sample in samples] == part.references
    for sample in samples:
        scores = [candidate["score"] for candidate in sample["candidates"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_each_line_has_its_own_score_and_tokens(captioner: Captioner, trained: Job):
    found = run(captioner, trained)
    for sample, tokens in zip(found.samples, found.tokens, strict=True):
        assert sample["chrf"] == line_chrf(sample["generated"], sample["references"])
        assert captioner.tokenizer.decode(tokens).strip() == sample["generated"]
    assert len({sample["chrf"] for sample in found.samples}) > 1


def test_labels_that_are_shuffled_cost_what_was_learned_of_them(captioner: Captioner, trained: Job):
    found = run(captioner, trained, "train").metrics
    assert found["shuffled"]["everything"]["chrf"] < found["chrf"] - 5
    gap = found["chrf"] - found["shuffled"]["picture"]["chrf"]
    assert found["picture_shuffle_gap"]["chrf"] == pytest.approx(gap)
    nats = found["nats_per_token"]
    assert nats["shuffled_everything"] > nats["shuffled_labels_and_text"] > 2 * nats["right"]
    assert found["picture_shuffle_gap"]["nats_per_token"] == nats["shuffled_picture"] - nats["right"]


def test_a_model_that_has_learned_nothing_is_told(trained: Job, tmp_path: Path):
    blind = trained.model().decoder
    with torch.no_grad():
        blind.merge.weight.zero_()  # nothing of state, picture, labels or text reaches the logits
        blind.bias.copy_(torch.linspace(1, 0, blind.vocabulary))
    found = run(as_captioner(blind, trained, tmp_path), trained)
    assert any(warning.startswith("collapsed: only ") for warning in found.warnings)
    assert any(warning.startswith("the picture, labels and text are not used: ") for warning in found.warnings)


def test_lines_that_stand_in_the_training_data_are_told(captioner: Captioner, trained: Job):
    drawn = {sample["candidates"][0]["text"] for sample in run(captioner, trained).samples}
    assert any(warning.startswith("copied: 100%") for warning in run(captioner, trained, lines=drawn).warnings)
    assert not any(warning.startswith("copied") for warning in run(captioner, trained).warnings)
    assert not any(warning.startswith("copied") for warning in run(captioner, trained, "train", drawn).warnings)


@pytest.mark.parametrize("asked", [0, 1, 2, 3])
def test_a_job_that_is_asked_to_end_is_not_evaluated(captioner: Captioner, trained: Job, asked: int):
    data = evaluation_set(trained.dataset.validation)
    assert evaluate(captioner, data, set(), "character", stop_after(asked)) is None


def test_one_picture_can_be_evaluated(captioner: Captioner, trained: Job):
    part = trained.dataset.validation
    one = EvaluationSet(
        "validation",
        part.pictures[:1],
        np.asarray(part.examples.pictures[part.examples.rows[:1]]),
        part.examples.conditions[:1],
        part.references[:1],
    )
    found = evaluate(captioner, one, set(), "word", lambda: False)
    assert found is not None
    assert found.metrics["pictures"] == 1
    assert "bleu_ja_mecab" not in found.metrics
