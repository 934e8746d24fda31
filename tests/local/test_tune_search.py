"""Which trial comes next, which is given up, what is known after a stop; the jobs here only print what jobs print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from local.search import FREE_TRIALS, Diverged, Search, SearchError, Train, Trial
from ogiri.captioning.training.ranges import FIRST, RANGES, Choice

EPOCHS = 8


def search(folder: Path, metric: str = "validation_cider", name: str = "question", **options: Sequence[str]) -> Search:
    parameters = options.get("parameters", ["learning_rate", "dropout"])
    return Search(folder / "trials.sqlite3", name, metric, parameters, EPOCHS)


def printing(curve: Sequence[float], seen: list[str] | None = None) -> Train:
    """A job that prints these values of CIDEr, and a loss that is their negative."""

    def train(number: int, values: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        for epoch, value in enumerate(curve, 1):
            line = f"epoch={epoch}; train_loss=9; validation_loss={-value}; validation_cider={value};"
            if seen is not None:
                seen.append(line)
            on_line("2026-01-01 INFO ogiri: validation_cider is printed next")
            on_line(line)

    return train


def run(found: Search, curve: Sequence[float], seen: list[str] | None = None) -> Trial:
    return found.run(found.propose(), printing(curve, seen), lambda _epoch, _value: None)


def test_the_first_trial_has_the_values_that_are_known_to_work(tmp_path: Path):
    found = search(tmp_path, parameters=["learning_rate", "dropout", "decoder_width"])
    found.begin_with({"learning_rate": 0.002, "dropout": 0.9, "decoder_width": 0, "epochs": 3})
    first = found.propose().values
    assert first["learning_rate"] == "0.002"
    assert 0.1 <= float(first["dropout"]) <= 0.6  # 0.9 is out of range, and so is a width of 0
    assert first["decoder_width"] in ("256", "384", "512", "768")


def test_every_value_is_in_range_and_short_enough_to_be_copied(tmp_path: Path):
    found = search(tmp_path, parameters=list(RANGES))
    for _ in range(20):
        for name, value in found.propose().values.items():
            allowed = RANGES[name]
            if isinstance(allowed, Choice):
                assert float(value) in allowed.values
            else:
                assert allowed.minimum <= float(value) <= allowed.maximum
                assert value.isdigit() == allowed.integer or value in ("0", "1", "2")
            assert len(value) <= len("0.0001234")


def test_a_trial_counts_by_its_best_epoch(tmp_path: Path):
    found = search(tmp_path)
    assert found.best is None
    seen: list[tuple[int, float]] = []
    trial = found.run(found.propose(), printing([0.1, 0.5, 0.3]), lambda *value: seen.append(value))
    assert seen == [(1, 0.1), (2, 0.5), (3, 0.3)]
    assert (trial.curve, trial.best, trial.state) == ([0.1, 0.5, 0.3], 0.5, "done")
    run(found, [0.2, 0.4, 0.4])
    assert found.best == trial
    assert [one.best for one in found.trials] == [0.5, 0.4]


def test_less_of_a_loss_is_better(tmp_path: Path):
    found = search(tmp_path, "validation_loss")
    run(found, [-5, -3, -4])
    best = run(found, [-6, -2, -3])
    assert best.best == 2
    assert found.best == best


def test_a_trial_behind_the_others_is_given_up_and_its_job_ended(tmp_path: Path):
    found = search(tmp_path)
    rising = [epoch / 10 for epoch in range(1, EPOCHS + 1)]
    for _ in range(FREE_TRIALS):
        assert run(found, rising).state == "done"
    seen: list[str] = []
    hopeless = run(found, [0.01] * EPOCHS, seen)
    assert hopeless.state == "given up"
    assert 1 < len(seen) < EPOCHS  # each gets some epochs
    assert len(hopeless.curve) == len(seen)
    assert found.best != hopeless
    assert run(found, rising).state == "done"


def test_of_a_loss_the_higher_is_behind(tmp_path: Path):
    found = search(tmp_path, "validation_loss")
    for _ in range(FREE_TRIALS):
        run(found, [-3] * EPOCHS)
    assert run(found, [-2] * EPOCHS).state == "done"
    assert run(found, [-4] * EPOCHS).state == "given up"


def test_the_first_trials_are_never_given_up(tmp_path: Path):
    found = search(tmp_path)
    for value in (0.9, 0.5, 0.1):
        assert run(found, [value] * EPOCHS).state == "done"


def test_a_trial_that_diverges_counts_but_is_not_the_best(tmp_path: Path):
    def train(number: int, values: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        on_line("validation_cider=99;")
        raise Diverged("AlgorithmError: FloatingPointError: the training loss is nan")

    found = search(tmp_path)
    failed = found.run(found.propose(), train, lambda _epoch, _value: None)
    assert (failed.state, failed.best, failed.curve) == ("failed", None, [99])
    assert found.trials == [failed]
    assert found.best is None


def test_a_job_without_the_objective_stops_the_search(tmp_path: Path):
    found = search(tmp_path)
    with pytest.raises(SearchError, match=r"printed no validation_cider: .*raise validation_fraction"):
        run(found, [])


def test_what_ran_when_the_search_was_stopped_is_tried_again(tmp_path: Path):
    stopped = search(tmp_path)
    done = run(stopped, [0.1])
    running = stopped.propose()
    again = search(tmp_path)
    assert again.trials == [done]
    assert again.propose().values == running.values
    assert run(again, [0.2]).values != running.values


def test_another_question_knows_nothing_of_it(tmp_path: Path):
    run(search(tmp_path), [0.1])
    assert search(tmp_path, name="another").trials == []
    assert len(search(tmp_path).trials) == 1


def test_parameters_of_a_short_search(tmp_path: Path):
    assert set(search(tmp_path, parameters=FIRST).propose().values) == set(FIRST)
