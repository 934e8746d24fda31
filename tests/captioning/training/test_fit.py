import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ogiri.captioning.model.token_lines import TokenLines
from ogiri.captioning.training import epoch, fit, walk
from ogiri.captioning.training.examples import IGNORED, collate
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.validation import settle, validate
from tests.captioning.training.small import Job, hyperparameters, maps, pixels, stop_after

CPU = torch.device("cpu")


def assert_equal(one: Model, other: Model) -> None:
    """Bit for bit."""
    for part, weights in one.state_dict().items():
        others = other.state_dict()[part]
        assert weights.keys() == others.keys()
        assert [name for name, value in weights.items() if not torch.equal(value, others[name])] == []


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{n: v for n, v in epoch.items() if n not in ("epoch_seconds", "tokens_per_second")} for epoch in history]


# --- learning --------------------------------------------------------------------------------------------------------


def test_learns_more_than_which_tokens_are_frequent(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=20, decoder_width=128, validation_fraction=0, dropout=0))
    counts = np.unique(np.concatenate([[*line, -1] for line in job.dataset.train.examples.lines]), return_counts=True)
    shares = counts[1] / counts[1].sum()
    _, progress = job.run()
    losses = [epoch["train_loss"] for epoch in progress.history]
    assert losses[0] > -(shares * np.log(shares)).sum() > losses[-1] + 0.5


def test_a_trained_encoder_learns_too(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=2, learning_rate=0.003), pixels(), "mobilenet_v3_small")
    before = dict(job.model().encoder.named_parameters())
    model, _ = job.run()
    unchanged = [n for n, value in model.encoder.named_parameters() if torch.equal(value, before[n])]
    assert [name for name in unchanged if "trunk.avgpool" not in name] == []


@pytest.mark.parametrize(
    ("fraction", "asked"),
    [(0.3, 1000), (0, 1000), (0, 3)],
    ids=["validated", "nothing held out", "asked to end after some steps"],
)
def test_the_statistics_of_a_trained_encoder_are_those_of_its_last_weights(tmp_path: Path, fraction: float, asked: int):
    """Running ones lag behind: evaluated with them, every picture would look the same."""
    hp = hyperparameters(epochs=2, learning_rate=0.003, validation_fraction=fraction)
    job = Job(tmp_path, hp, pixels(), "mobilenet_v3_small")
    model, _ = job.run(stop_after(asked))
    found = model.state_dict()["encoder"]
    settle(model, job.fitting())
    for name, value in model.state_dict()["encoder"].items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def test_reports_each_epoch_once(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=3))
    _, progress = job.run()
    assert [metrics["epoch"] for metrics in job.reported] == [1, 2, 3]
    assert job.reported == progress.history
    names = {"train_loss", "validation_loss", "validation_nats_per_character"}
    names |= {"validation_bleu", "validation_cider", "validation_chrf"}
    assert all(names <= metrics.keys() and all(map(math.isfinite, metrics.values())) for metrics in job.reported)
    assert progress.steps == 3 * math.ceil(len(job.dataset.train.examples) / 8)


def test_validation_is_nats_a_token_and_a_character_over_all_held_out_lines(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(batch_size=5))
    model, tokenizer = job.model(), job.dataset.tokenizer
    examples = job.dataset.validation.examples
    found = validate(model, job.fitting())
    nats = tokens = characters = 0.0
    with torch.no_grad():
        for line in range(len(examples)):
            batch = collate(examples, np.array([line]), tokenizer.bos, tokenizer.eos)
            logits = model.decoder(model.prefix(batch, CPU), batch.tokens)[0]
            nats += functional.cross_entropy(logits, batch.targets[0], reduction="sum").item()
            tokens += len(batch.targets[0])
            characters += len(tokenizer.decode(examples.lines[line])) + 1
    assert found["validation_loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert found["validation_nats_per_character"] == pytest.approx(nats / characters, rel=1e-5)


def test_nothing_held_out_means_the_last_weights(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(validation_fraction=0, epochs=2))
    model, progress = job.run()
    assert "validation_loss" not in progress.history[-1]
    saved = torch.load(tmp_path / "training.pt", weights_only=True)["model"]
    assert all(torch.equal(value, saved["decoder"][name]) for name, value in model.state_dict()["decoder"].items())


def test_a_loss_that_is_no_number_ends_the_job(tmp_path: Path):
    arrays = maps()
    arrays.arrays[:] = np.nan
    with pytest.raises(FloatingPointError, match="train_loss is nan in epoch 1: try a lower learning_rate"):
        Job(tmp_path, hyperparameters(), arrays).run()
    assert not (tmp_path / "training.pt").exists()


# --- which weights are kept ------------------------------------------------------------------------------------------


def surprised(tmp_path: Path, **values: object) -> Job:
    """Held-out lines are of tokens at random, so that whatever is learned makes them less likely."""
    job = Job(tmp_path, hyperparameters(epochs=12, learning_rate=0.03, **values))
    rng, validation = np.random.default_rng(0), job.dataset.validation
    lines = [rng.integers(3, job.dataset.tokenizer.vocabulary, 8).tolist() for _ in validation.examples.lines]
    examples = dataclasses.replace(validation.examples, lines=TokenLines.of(lines))
    job.dataset = dataclasses.replace(job.dataset, validation=dataclasses.replace(validation, examples=examples))
    return job


def test_keeps_the_weights_of_the_best_epoch(tmp_path: Path):
    job = surprised(tmp_path)
    model, progress = job.run()
    losses = [epoch["validation_loss"] for epoch in progress.history]
    assert len(losses) == 12
    assert progress.best_epoch == 1 + losses.index(min(losses)) < 12
    assert validate(model, job.fitting())["validation_loss"] == pytest.approx(min(losses), rel=1e-6)
    assert not model.decoder.training


@pytest.mark.parametrize("figure", ["cider", "chrf"])
def test_another_figure_may_choose(tmp_path: Path, figure: str):
    _, progress = Job(tmp_path, hyperparameters(epochs=8, select_by=figure, validation_fraction=0.5, seed=3)).run()
    figures = [epoch[f"validation_{figure}"] for epoch in progress.history]
    assert max(figures) > figures[0]
    assert progress.best_epoch == 1 + figures.index(max(figures))


def test_ends_when_patience_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    _, whole = surprised(tmp_path / "whole").run()
    job = surprised(tmp_path / "early", patience=2)
    model, progress = job.run()
    assert progress.epoch == progress.best_epoch + 2 < 12
    assert without_times(progress.history) == without_times(whole.history[: progress.epoch])
    assert validate(model, job.fitting())["validation_loss"] == pytest.approx(-progress.best, rel=1e-6)
    assert f"no better validation for 2 epochs: ending after epoch {progress.epoch}" in caplog.text
    again, unchanged = job.run()
    assert unchanged.steps == progress.steps
    assert_equal(again, model)


# --- interrupted, and going on ---------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_EVERY_SECONDS", 0.0)


@pytest.mark.usefixtures("checkpoint_every_epoch")
@pytest.mark.parametrize("encoder", ["", "mobilenet_v3_small"], ids=["frozen encoder", "trained encoder"])
def test_a_restarted_job_ends_with_the_same_weights(tmp_path: Path, encoder: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    hp = hyperparameters(epochs=4, learning_rate=0.003 if encoder else 0.01)
    arrays = pixels() if encoder else maps()
    undisturbed = Job(tmp_path / "undisturbed", hp, arrays, encoder)
    expected, whole = undisturbed.run()
    job = Job(tmp_path / "restarted", hp, arrays, encoder)
    _, early = job.run(stop_after(2 * (1 + whole.steps // 4) + 2))
    assert early.epoch == 2
    assert whole.steps / 2 < early.steps < whole.steps * 3 / 4
    torch.manual_seed(99)
    found, progress = job.run()
    assert "going on from the checkpoint in epoch 3, after 2 of its batches" in caplog.text
    assert progress.steps == whole.steps
    assert_equal(found, expected)
    assert without_times(progress.history) == without_times(whole.history)
    assert (progress.best, progress.best_epoch) == (whole.best, whole.best_epoch)


class Killed(BaseException):
    """The end without a word: whoever asks whether to stop never comes back."""


def killed_after(times: int) -> Callable[[], bool]:
    left = iter(range(times))

    def ask() -> bool:
        if next(left, None) is None:
            raise Killed
        return False

    return ask


@pytest.mark.usefixtures("checkpoint_every_epoch")
@pytest.mark.parametrize("every_seconds", [0.0, math.inf], ids=["each batch", "each epoch"])
@pytest.mark.parametrize("encoder", ["", "mobilenet_v3_small"], ids=["frozen encoder", "trained encoder"])
def test_killed_again_and_again_it_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, every_seconds: float
):
    monkeypatch.setattr(walk, "CHECKPOINT_EVERY_SECONDS", every_seconds)
    hp = hyperparameters(epochs=3, learning_rate=0.003 if encoder else 0.01)
    arrays = pixels() if encoder else dataclasses.replace(maps(), variants=(maps().arrays * np.float16(0.5),))
    expected, whole = Job(tmp_path / "undisturbed", hp, arrays, encoder).run()
    job, kills = Job(tmp_path / "killed", hp, arrays, encoder), 0
    while True:
        torch.manual_seed(kills)
        try:
            found, progress = job.run(killed_after(9 if every_seconds else 5 + 2 * kills))
            break
        except Killed:
            kills += 1
    assert kills >= 2
    assert_equal(found, expected)
    assert without_times(progress.history) == without_times(whole.history)
    assert (progress.steps, progress.best, progress.best_epoch) == (whole.steps, whole.best, whole.best_epoch)
    assert progress.within == {}


def test_the_time_of_an_epoch_does_not_count_the_time_between_two_runs():
    mean = walk.Mean("train_loss")
    mean.load_state_dict({"total": 6.0, "weight": 3.0, "seconds": 100.0})
    mean.add(2.0, 1.0)
    assert mean.value == 2.0
    assert 100 <= mean.seconds < 150
    assert mean.per_second == pytest.approx(4 / mean.seconds, rel=0.01)


def test_a_finished_job_started_again_trains_nothing(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=2))
    expected, whole = job.run()
    job.reported.clear()
    found, progress = job.run()
    assert job.reported == []
    assert progress.steps == whole.steps
    assert_equal(found, expected)


def test_asked_to_end_after_some_steps_it_keeps_the_weights_of_that_moment(tmp_path: Path):
    job = Job(tmp_path, hyperparameters())
    model, progress = job.run(stop_after(3))
    assert (progress.epoch, progress.steps) == (0, 3)
    assert torch.load(tmp_path / "training.pt", weights_only=True)["progress"]["within"]["batches"] == 3
    start = job.model()
    assert not torch.equal(model.decoder.embedding.weight, start.decoder.embedding.weight)


def test_asked_to_end_later_it_keeps_the_best_weights_so_far(tmp_path: Path):
    job = Job(tmp_path, hyperparameters())
    steps = math.ceil(len(job.dataset.train.examples) / 8)
    model, progress = job.run(stop_after(steps + 3))
    assert (progress.epoch, progress.best_epoch) == (1, 1)
    assert progress.steps > steps
    loss = validate(model, job.fitting())["validation_loss"]
    assert loss == pytest.approx(progress.history[0]["validation_loss"], rel=1e-6)


def test_asked_to_end_before_the_first_step_it_does_none(tmp_path: Path):
    job = Job(tmp_path, hyperparameters())
    model, progress = job.run(lambda: True)
    assert progress.steps == 0
    assert_equal(model, job.model())


def test_asked_to_end_between_two_epochs_it_leaves_a_checkpoint(tmp_path: Path):
    job = Job(tmp_path, hyperparameters())
    steps = math.ceil(len(job.dataset.train.examples) / 8)
    _, progress = job.run(stop_after(steps + 1))
    assert (progress.epoch, progress.steps) == (1, steps)
    assert torch.load(tmp_path / "training.pt", weights_only=True)["progress"]["epoch"] == 1


# --- the loss --------------------------------------------------------------------------------------------------------


@pytest.fixture
def targets() -> torch.Tensor:
    """Three lines, the second of them padded."""
    targets = torch.randint(0, 11, (3, 5), generator=torch.Generator().manual_seed(0))
    targets[1, 2:] = IGNORED
    return targets


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(1))


def loss_of(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *more) -> torch.Tensor:
    """Of (batch, time, vocabulary), (batch, time) and (batch,)."""
    known = targets != IGNORED
    return epoch.smoothed_loss(logits[known], targets[known], weights[:, None].expand_as(targets)[known], *more)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_smoothed_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, smoothing: float):
    expected = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
    even = torch.full((11,), 1 / 11)
    torch.testing.assert_close(loss_of(logits, targets, torch.full((len(logits),), 0.7), smoothing, even), expected)
    logits[1, 2:] = 99  # padding
    torch.testing.assert_close(loss_of(logits, targets, torch.full((len(logits),), 0.7), smoothing, even), expected)


def test_smoothing_favours_frequent_tokens(logits: torch.Tensor, targets: torch.Tensor):
    frequencies = torch.full((11,), 0.01).index_fill(0, torch.tensor(4), 0.9)
    likely, unlikely = logits.clone(), logits.clone()
    likely[..., 4] += 1
    unlikely[..., 5] += 1
    equal = torch.ones(len(logits))
    losses = [loss_of(some, targets, equal, 0.9, frequencies) for some in (likely, unlikely)]
    assert losses[0] < losses[1]


def test_lines_count_by_their_weight(logits: torch.Tensor, targets: torch.Tensor):
    even, weights = torch.full((11,), 1 / 11), torch.tensor([3.0] + [1.0] * (len(logits) - 1))
    rows = [loss_of(logits[[row]], targets[[row]], torch.ones(1), 0.1, even) for row in range(len(logits))]
    tokens = (targets != IGNORED).sum(1) * weights
    expected = sum(loss * count for loss, count in zip(rows, tokens, strict=True)) / tokens.sum()
    torch.testing.assert_close(loss_of(logits, targets, weights, 0.1, even), expected)


# --- steps -----------------------------------------------------------------------------------------------------------


def test_trains_in_bf16(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(precision="bf16", epochs=3))
    model, progress = job.run()
    assert progress.history[-1]["train_loss"] < progress.history[0]["train_loss"]
    assert {p.dtype for p in model.decoder.parameters()} == {torch.float32}


def test_a_large_gradient_is_clipped(tmp_path: Path):
    still = Job(tmp_path, hyperparameters(epochs=1, clip_norm=1e-12, weight_decay=0))
    model, _ = still.run()
    moved, _ = Job(tmp_path / "other", hyperparameters(epochs=1, weight_decay=0)).run()

    def distance(one: Model) -> float:
        return (one.decoder.embedding.weight - still.model().decoder.embedding.weight).norm().item()

    assert distance(model) < 0.1 * distance(moved)
