import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.captioning.data import Example
from benchmarks.training.loop import (
    GIVEN,
    HYPERPARAMETERS,
    NAIVE,
    OURS,
    RANDOM,
    Epoch,
    Run,
    chosen,
    encoder_weights,
    middle,
    prepare,
    rows,
    run,
)
from tests.contract.training import drawn

SMALL = {**HYPERPARAMETERS, "encoder": "mobilenet_v3_small", "image_size": "64", "decoder_width": "32", "epochs": "2"}


def ended(*losses: float, seconds: float = 10.0, data: str = "9 pictures and 9 lines to train on") -> Run:
    return Run([Epoch(2.0 * n, loss) for n, loss in enumerate(losses, 1)], seconds, data, 9)


def test_both_are_timed_to_the_worse_of_the_final_losses():
    ours, naive = rows({}, {OURS: ended(5.0, 3.9, 3.0), NAIVE: ended(5.0, 4.5, 4.0)})
    assert ours["loss"] == naive["loss"] == 4.0
    assert (ours["epochs to it"], ours["s to it"], ours["ratio"]) == (2, 4.0, 1.0)
    assert (naive["epochs to it"], naive["s to it"], naive["ratio"]) == (3, 6.0, 1.5)


def test_pictures_a_second_count_up_to_the_end_of_the_last_epoch():
    ours, naive = rows({}, {OURS: ended(5.0, 3.0, seconds=20.0), NAIVE: ended(5.0, 3.0, seconds=5.0)})
    assert ours["pictures/s"] == 2 * 9 / 4.0
    assert naive["total ratio"] == 0.25


def test_runs_on_different_data_are_not_compared():
    with pytest.raises(ValueError, match="8 pictures"):
        rows({}, {OURS: ended(1.0), NAIVE: ended(1.0, data="8 pictures and 8 lines to train on")})


def test_of_several_rounds_the_middle_one_counts():
    runs = [ended(1.0, seconds=seconds) for seconds in (9.0, 1.0, 5.0)]
    assert middle(runs).seconds == 5.0
    assert middle(runs[:2]).seconds == 1.0


def test_the_first_training_pictures_are_taken_and_too_few_are_refused():
    examples = [Example(str(n), "dev" if n == 0 else "train") for n in range(4)]
    assert [one.image for one in chosen(examples, 2)] == ["1", "2"]
    with pytest.raises(SystemExit, match="--pictures is 4, and the collection has 3"):
        chosen(examples, 4)


def test_weights_that_are_not_given_are_made_and_said_to_be_random(tmp_path: Path):
    made, origin = encoder_weights("mobilenet_v3_small", tmp_path, tmp_path / "made")
    assert origin == RANDOM
    assert encoder_weights("mobilenet_v3_small", made, tmp_path / "again") == (made, GIVEN)


def test_a_process_that_fails_or_validates_nothing_is_named_with_its_log(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"ended with 3 and 0 validated epochs: see .*log\.txt"):
        run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
    with pytest.raises(RuntimeError, match="ended with 0"):
        run([sys.executable, "-c", "print('9 pictures and 9 lines to train on')"], tmp_path)


def test_each_epoch_is_timed_when_its_line_comes(tmp_path: Path):
    program = (
        "import time; print('9 pictures and 9 lines to train on, 1 and 1 held out', flush=True)\n"
        "for n in (1, 2): print(f'epoch={n}; validation_loss={3 - n}.5;', flush=True); time.sleep(1)"
    )
    found = run([sys.executable, "-c", program], tmp_path)
    assert [epoch.loss for epoch in found.epochs] == [2.5, 1.5]
    assert found.epochs[1].seconds - found.epochs[0].seconds >= 0.85
    assert found.seconds - found.epochs[1].seconds >= 0.85
    assert found.pictures == 9


def test_the_naive_loop_learns_from_the_split_that_train_has(tmp_path: Path):
    from benchmarks.training.naive import CPU, Naive
    from ogiri.captioning.training.build import build_encoder, build_model
    from ogiri.captioning.training.dataset import build_dataset
    from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
    from ogiri.captioning.training.pictures import read_pictures
    from ogiri.captioning.training.trainer import read_records
    from ogiri.parameter import from_strings
    from ogiri.sagemaker.training.environment import Environment
    from ogiri.task import TrainingContext

    images = tmp_path / "images"
    images.mkdir()
    for n in range(16):
        (images / f"{n:02}.png").write_bytes(drawn(n % 12))  # the last four are copies
    examples = [Example(f"{n:02}.png", "train", [f"{'犬猫鳥魚'[n % 4]}が{n}回笑う"]) for n in range(16)]
    weights, _ = encoder_weights("mobilenet_v3_small", None, tmp_path / "weights")
    base = tmp_path / "base"
    prepare(base, examples, images, weights, {**SMALL, "validation_fraction": "0.4"})
    hp = from_strings(CaptionHyperparameters, json.loads((base / "input/config/hyperparameters.json").read_text()))
    channels = {path.name: path for path in (base / "input" / "data").iterdir()}
    naive = Naive(Environment(base, channels), hp)
    context = TrainingContext(
        hp, channels, base / "model", base / "output", base / "checkpoints", "job-7", lambda: False, lambda _: None
    )
    records, encoder = read_records(context, hp), build_encoder(context, hp)
    ours = build_dataset(records, read_pictures(context, hp, records, encoder, CPU), hp)
    for own, theirs in ((ours.train, naive.dataset.train), (ours.validation, naive.dataset.validation)):
        assert list(own.pictures.keys) == list(theirs.pictures.keys)
        assert [list(line) for line in own.examples.lines] == [list(line) for line in theirs.examples.lines]
    own, theirs = build_model(hp, ours, encoder).state_dict(), naive.model.state_dict()
    assert all(np.array_equal(own["decoder"][name], theirs["decoder"][name]) for name in own["decoder"])
    before = naive.validate()
    for _ in range(4):
        naive.train()
    assert naive.validate() < before
