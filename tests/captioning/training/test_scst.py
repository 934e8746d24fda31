from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ogiri.captioning.model.decoder import Decoder, Prefix, State, StateSpec
from ogiri.captioning.training import fit, scst
from ogiri.captioning.training.cider import CiderD
from ogiri.captioning.training.examples import IGNORED, batch_without_lines
from ogiri.captioning.training.fingerprint import job_fingerprint
from ogiri.captioning.training.metrics import segment
from ogiri.captioning.training.scst import DRAWN_LINES, END, Drawn, SelfCritical, advantages, draw, picture_batches
from tests.captioning.training.small import Job, hyperparameters, small_encoder, stop_after

BOS, EOS, VOCABULARY = 1, 2, 6
SHARES = torch.tensor([0.0, 0.0, 0.2, 0.5, 0.0, 0.3])
CPU = torch.device("cpu")


class Coin(Decoder):
    """Knows nothing, and counts its steps."""

    state_specs = (StateSpec("steps", (1,)),)
    vocabulary = VOCABULARY

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, prefix: Prefix, tokens: Tensor, lines: int = 1, wanted: Tensor | None = None) -> Tensor:
        raise AssertionError

    def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
        logits = SHARES.log().expand(len(tokens), 1, -1)
        return logits, {"steps": state["steps"] + 1}


class Ends:
    bos, eos = BOS, EOS


def nothing(pictures: int) -> Prefix:
    empty = torch.zeros(pictures, 0, dtype=torch.int64)
    return Prefix(torch.zeros(pictures, 0, 3), empty[..., None], empty, empty, empty)


# --- drawing ---------------------------------------------------------------------------------------------------------


def test_lines_are_drawn_as_the_model_says():
    torch.manual_seed(0)
    drawn = draw(Coin(), nothing(4000), 5, Ends(), 12)
    first = torch.bincount(drawn.targets[:, 0], minlength=VOCABULARY) / len(drawn.targets)
    torch.testing.assert_close(first, SHARES, atol=0.015, rtol=0)
    lengths = [len(line) for line in drawn.lines(EOS)]
    assert np.mean([n == 0 for n in lengths]) == pytest.approx(0.2, abs=0.015)
    assert np.mean([n == 1 for n in lengths]) == pytest.approx(0.8 * 0.2, abs=0.015)


def test_targets_are_the_tokens_one_step_ahead_and_nothing_comes_after_the_end():
    torch.manual_seed(1)
    drawn = draw(Coin(), nothing(20), 3, Ends(), 4)
    assert drawn.tokens.shape == drawn.targets.shape
    assert (drawn.tokens[:, 0] == BOS).all()
    for tokens, targets in zip(drawn.tokens.tolist(), drawn.targets.tolist(), strict=True):
        known = [token for token in targets if token != IGNORED]
        assert targets[len(known) :] == [IGNORED] * (len(targets) - len(known))
        assert EOS not in known[:-1]
        assert tokens[1 : len(known)] == known[:-1]
    assert any(IGNORED in row for row in drawn.targets.tolist())
    assert any(EOS not in row for row in drawn.targets.tolist())  # some found no end in four tokens


def test_a_drawn_line_is_what_stands_before_its_end():
    drawn = Drawn(torch.zeros(2, 3), torch.tensor([[3, 5, EOS], [EOS, IGNORED, IGNORED]]))
    assert drawn.lines(EOS) == [[3, 5], []]


class Recites(Decoder):
    """Writes 3, 4, 5, 3, … and ends after as many tokens as its picture's cell says; its state counts them."""

    state_specs = (StateSpec("left", (1,)), StateSpec("steps", (1,)))
    vocabulary = VOCABULARY

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.rows: list[int] = []

    def forward(self, prefix: Prefix, tokens: Tensor, lines: int = 1, wanted: Tensor | None = None) -> Tensor:
        raise AssertionError

    def advance(self, tokens: Tensor, prefix: Prefix, state: State) -> tuple[Tensor, State]:
        assert len(tokens) == len(prefix) == len(state["left"])
        self.rows.append(len(tokens))
        left = state["left"] + prefix.map[:, :, 0].sum(1, keepdim=True)
        token = torch.where(left > 0, 3 + state["steps"] % 3, EOS).long()
        logits = torch.full((len(tokens), 1, VOCABULARY), -1e9).scatter(2, token[:, None], 0.0)
        return logits, {"left": left - 1, "steps": state["steps"] + 1}


def test_lines_that_end_earlier_leave_the_others_as_they_are():
    lengths = torch.tensor([4, 0, 7, 1, 5, 2, 6, 3, 9])
    decoder = Recites()
    drawn = draw(decoder, replace(nothing(len(lengths)), map=lengths.float()[:, None, None]), 2, Ends(), 12)
    expected = [[3 + step % 3 for step in range(length)] for length in lengths.repeat_interleave(2).tolist()]
    assert drawn.lines(EOS) == expected
    assert decoder.rows[1] == 18  # two of eighteen are not worth a copy of the others
    assert decoder.rows[2:] == sorted(decoder.rows[2:], reverse=True)
    assert decoder.rows[-1] <= 4


# --- rewards ---------------------------------------------------------------------------------------------------------


def test_a_line_is_measured_by_the_others_of_its_picture():
    rewards = torch.tensor([[3.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    found = advantages(rewards)
    torch.testing.assert_close(found, torch.tensor([[1.5, -1.5, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(found[0, 0], rewards[0, 0] - rewards[0, 1:].mean())


def test_the_reward_is_the_cider_of_the_text(tmp_path: Path):
    job = Job(tmp_path, hyperparameters())
    part, tokenizer = job.dataset.train, job.dataset.tokenizer
    lines = [tokenizer.encode(text) for text in (*part.references[3][:2], "犬", "", part.references[0][0])]
    width = max(map(len, lines)) + 1
    targets = torch.tensor([[*line, tokenizer.eos] + [IGNORED] * (width - len(line) - 1) for line in lines])
    critic = SelfCritical(part.references, tokenizer, "character", 20)
    rewards = critic.rewards(np.array([3]), Drawn(targets, targets))
    cider = CiderD([[[*segment(line, "character"), END] for line in lines] for lines in part.references])
    expected = [cider.score(3, [*segment(tokenizer.decode(line), "character"), END]) for line in lines]
    assert rewards.shape == (1, DRAWN_LINES)
    assert rewards[0].tolist() == pytest.approx(expected)
    assert expected[0] > expected[2] >= expected[3]


def test_a_line_that_breaks_off_earns_less_than_one_that_ends(tmp_path: Path):
    part = Job(tmp_path, hyperparameters()).dataset.train
    tokenizer = Job(tmp_path, hyperparameters()).dataset.tokenizer
    whole = part.references[0][0]
    lines = [tokenizer.encode(text) for text in (whole, whole[:-1], whole, whole, whole)]
    width = max(map(len, lines)) + 1
    targets = torch.tensor([[*line, tokenizer.eos] + [IGNORED] * (width - len(line) - 1) for line in lines])
    rewards = SelfCritical([[whole], *part.references[1:]], tokenizer, "character", 20).rewards(
        np.array([0]), Drawn(targets, targets)
    )[0]
    bare = CiderD([[segment(whole, "character")], *[[segment(x, "character") for x in r] for r in part.references[1:]]])
    broken = bare.score(0, segment(whole[:-1], "character")) / bare.score(0, segment(whole, "character"))
    assert rewards[1] / rewards[0] < broken


def test_likely_lines_of_high_reward_become_likelier(tmp_path: Path):
    torch.manual_seed(0)
    job = Job(tmp_path, hyperparameters(epochs=2))
    model, part = job.model(), job.dataset.train
    critic = SelfCritical(part.references, job.dataset.tokenizer, "character", 12)
    pictures = np.arange(len(part))
    optimizer = torch.optim.Adam(model.decoder.parameters(), 0.003)
    model.train(False)
    rewards = []
    prefix = model.prefix(batch_without_lines(part.examples, pictures), CPU)
    for _ in range(40):
        loss = critic.loss(model.decoder, prefix, pictures)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        rewards.append(loss.reward)
    assert np.mean(rewards[-5:]) > 2 * np.mean(rewards[:5]) > 0


def test_what_is_trained_is_what_is_served_no_dropout_in_between(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=1, scst_epochs=1, dropout=0.9))
    modes = []
    model = job.model()
    model.decoder.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    fit.fit(model, job.fitting())
    learning = [training for training, gradient in modes if gradient]
    assert True in learning
    assert learning[-1] is False
    assert learning == sorted(learning, reverse=True)


def test_what_training_hides_of_pictures_is_hidden_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = {}

    def seen(decoder: Decoder, prefix: Prefix, *more) -> Drawn:
        shown[hp].append(prefix)
        return draw(decoder, prefix, *more)

    monkeypatch.setattr(scst, "draw", seen)
    for hp in ("nothing", "much"):
        shown[hp] = []
        hidden = {"condition_dropout": 3.0, "map_dropout": 0.6} if hp == "much" else {"condition_dropout": 0.0}
        Job(tmp_path / hp, hyperparameters(epochs=1, scst_epochs=1, **hidden)).run()
    zeros = {hp: (torch.cat([p.map.flatten() for p in some]) == 0).double().mean() for hp, some in shown.items()}
    labels = {hp: sum(int((p.label_pieces >= 0).sum()) for p in some) for hp, some in shown.items()}
    assert zeros["much"] - zeros["nothing"] > 0.4
    assert labels["much"] < labels["nothing"]


def test_a_loss_that_is_no_number_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scst, "advantages", lambda rewards: rewards * np.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 2: try a lower scst_learning_rate"):
        Job(tmp_path, hyperparameters(epochs=1, scst_epochs=1)).run()


# --- epochs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pictures", "batch_size", "size"), [(23, 40, 8), (23, 3, 1), (4, 1000, 4)])
def test_every_picture_comes_once_an_epoch(pictures: int, batch_size: int, size: int):
    batches = picture_batches(pictures, batch_size, np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == list(range(pictures))
    assert len(batches[0]) == size
    assert len(batches) == len(picture_batches(pictures, batch_size))


def test_self_critical_epochs_follow_the_others_and_raise_the_reward(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=3, scst_epochs=6, scst_learning_rate=0.003, batch_size=40))
    _, progress = job.run()
    assert progress.epoch == 9
    first, then = progress.history[:3], progress.history[3:]
    assert all("train_loss" in epoch and "train_reward" not in epoch for epoch in first)
    assert all("train_reward" in epoch and "validation_cider" in epoch for epoch in then)
    assert then[-1]["train_reward"] > then[0]["train_reward"]


def test_only_a_better_cider_replaces_what_self_critical_training_began_with(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=3, scst_epochs=2, scst_learning_rate=1e-9, batch_size=40))
    _, progress = job.run()
    loss = [epoch["validation_loss"] for epoch in progress.history[:3]]
    began = 1 + loss.index(min(loss))
    ciders = {epoch["epoch"]: epoch["validation_cider"] for epoch in progress.history}
    better = [epoch for epoch in (4, 5) if ciders[epoch] > ciders[began]]
    assert progress.best_epoch == (max(better, key=ciders.__getitem__) if better else began)
    assert progress.best == ciders[progress.best_epoch]


def test_without_validation_self_critical_training_goes_on_from_the_last_weights(tmp_path: Path):
    job = Job(tmp_path, hyperparameters(epochs=1, scst_epochs=1, validation_fraction=0))
    _, progress = job.run()
    assert [("train_loss" in e, "train_reward" in e) for e in progress.history] == [(True, False), (False, True)]


@pytest.mark.parametrize("epochs_before", [1, 2, 3])
def test_resumes_to_the_same_weights_wherever_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs_before: int
):
    monkeypatch.setattr(fit, "CHECKPOINT_EVERY_SECONDS", 0.0)
    values = {"epochs": 2, "scst_epochs": 2, "scst_learning_rate": 0.003, "batch_size": 40}
    whole, progress = Job(tmp_path / "whole", hyperparameters(**values)).run()
    job = Job(tmp_path / "parts", hyperparameters(**values))
    job.run(lambda: len(job.reported) >= epochs_before)
    assert len(job.reported) == epochs_before
    resumed, again = job.run()
    assert again.epoch == 4
    assert again.best_epoch == progress.best_epoch
    for name, value in whole.state_dict()["decoder"].items():
        assert torch.equal(value, resumed.state_dict()["decoder"][name]), name


@pytest.mark.parametrize("steps", [6, 8, 11, 12])
def test_resumes_to_the_same_weights_in_the_middle_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
):
    monkeypatch.setattr(fit, "CHECKPOINT_EVERY_SECONDS", 0.0)
    values = {"epochs": 1, "scst_epochs": 2, "scst_learning_rate": 0.003, "batch_size": 20}
    whole, progress = Job(tmp_path / "whole", hyperparameters(**values)).run()
    job = Job(tmp_path / "parts", hyperparameters(**values))
    _, early = job.run(stop_after(steps))
    assert early.stage == fit.SELF_CRITICAL
    assert early.within
    torch.manual_seed(5)
    resumed, again = job.run()
    for name, value in whole.state_dict()["decoder"].items():
        assert torch.equal(value, resumed.state_dict()["decoder"][name]), name
    rewards = [[epoch.get("train_reward") for epoch in one.history] for one in (progress, again)]
    assert rewards[0] == rewards[1]


def test_a_job_that_ended_without_it_goes_on_to_it(tmp_path: Path):
    values = {"epochs": 2, "scst_learning_rate": 0.003, "batch_size": 40}
    job = Job(tmp_path, hyperparameters(**values))
    job.run()
    later = Job(tmp_path, hyperparameters(scst_epochs=1, **values))
    encoder = small_encoder()
    assert job_fingerprint(job.hp, job.dataset, encoder) == job_fingerprint(later.hp, later.dataset, encoder)
    _, progress = later.run()
    assert [("train_loss" in epoch) for epoch in progress.history] == [True, True, False]
    assert len(later.reported) == 1
