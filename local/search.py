"""A search for good hyperparameters: which trial comes next, which is given up, and what is known of all of them.

Optuna proposes (a tree-structured Parzen estimator, arXiv:1907.10902) and keeps every trial in a file, so that a search
that was stopped goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from ogiri.captioning.training.ranges import OBJECTIVES, RANGES, Choice
from ogiri.sagemaker.training.metrics import metric_definitions

DIGITS = 4  # of a number that is tried: what is printed is what was trained with
FREE_TRIALS = 3  # that are never given up: the median of fewer says nothing
FREE_SHARE = 1 / 4  # of its epochs that every trial gets
VALUES, FAILED = "values", "failed"  # what is kept beside a trial

optuna.logging.set_verbosity(optuna.logging.WARNING)


class SearchError(RuntimeError):
    """A search that cannot go on; the message says why, and what to do."""


class Diverged(Exception):
    """A job that failed for its own hyperparameters: others may well succeed."""


class GivenUp(Exception):
    """A trial that is behind half of the others at the same epoch."""


@dataclass(frozen=True)
class Trial:
    """One trial that has ended.

    Attributes:
        number: from 0.
        values: hyperparameter → value as the job got it.
        curve: the objective after each epoch.
        best: the best of them, None where the trial failed.
        state: `done`, `given up` or `failed`.
        seconds: from start to end.
    """

    number: int
    values: Mapping[str, str]
    curve: Sequence[float]
    best: float | None
    state: str
    seconds: float


@dataclass(frozen=True)
class Proposal:
    """A trial to run: its number, hyperparameter → value, and Optuna's own handle of it."""

    number: int
    values: Mapping[str, str]
    handle: optuna.Trial


class Train(Protocol):
    """Runs one job to its end."""

    def __call__(self, number: int, values: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        """Train with these hyperparameters, hand on each line of the log, and end the job if that raises.

        Raises:
            Diverged: it failed, and with other values it may not.
        """


class Search:
    """All trials of one question."""

    def __init__(self, storage: Path, name: str, metric: str, parameters: Sequence[str], epochs: int) -> None:
        """Begin, or go on with what the storage holds under this name.

        Args:
            storage: SQLite file.
            name: of the question: data, objective, and what the trials share.
            metric: the objective, as a job prints it.
            parameters: what differs, names in `RANGES`.
            epochs: of a trial.
        """
        (definition,) = metric_definitions([metric])
        self.metric = metric
        self.maximize = OBJECTIVES[metric].maximize
        self._expression = re.compile(definition["Regex"])
        self._parameters = parameters
        self._study = optuna.create_study(
            storage=f"sqlite:///{storage}",
            study_name=name,
            load_if_exists=True,
            direction="maximize" if self.maximize else "minimize",
            sampler=optuna.samplers.TPESampler(seed=0),
            pruner=optuna.pruners.MedianPruner(FREE_TRIALS, max(1, math.ceil(epochs * FREE_SHARE))),
        )
        for stopped in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(stopped.number, state=TrialState.FAIL)
            self._study.enqueue_trial(stopped.params)

    def begin_with(self, values: Mapping[str, object]) -> None:
        """Let the first trial have these values, those of them that are in range."""
        if not self._study.trials:
            in_range = {name: values[name] for name in self._parameters if _is_in_range(name, values[name])}
            self._study.enqueue_trial(in_range)

    @property
    def trials(self) -> list[Trial]:
        """Those that have ended, in their order; one that was stopped with the search is none of them."""
        return [_trial(one, self.maximize) for one in self._study.trials if _has_ended(one)]

    @property
    def best(self) -> Trial | None:
        """The best one that ran to its end."""
        done = [trial for trial in self.trials if trial.state == "done" and trial.best is not None]
        return (max if self.maximize else min)(done, key=lambda trial: trial.best or 0.0, default=None)

    def propose(self) -> Proposal:
        """What to try next."""
        handle = self._study.ask()
        values = {name: _suggest(handle, name) for name in self._parameters}
        handle.set_user_attr(VALUES, values)
        return Proposal(handle.number, values, handle)

    def run(self, proposal: Proposal, train: Train, on_value: Callable[[int, float], None]) -> Trial:
        """Train with what was proposed; a trial that falls behind is given up.

        Args:
            proposal: from `propose`.
            train: runs the job.
            on_value: called with epochs done and the objective.

        Raises:
            SearchError: the job printed no objective.
        """
        curve: list[float] = []

        def on_line(line: str) -> None:
            for found in self._expression.findall(line):
                curve.append(float(found))
                on_value(len(curve), curve[-1])
                proposal.handle.report(curve[-1], len(curve))
                if proposal.handle.should_prune():
                    raise GivenUp

        try:
            train(proposal.number, proposal.values, on_line)
        except GivenUp:
            self._study.tell(proposal.handle, state=TrialState.PRUNED)
        except Diverged as error:
            proposal.handle.set_user_attr(FAILED, str(error))
            self._study.tell(proposal.handle, state=TrialState.FAIL)
        else:
            if not curve:
                raise SearchError(
                    f"the job printed no {self.metric}: without held-out pictures there is none, so raise "
                    "validation_fraction, or bring more pictures"
                )
            self._study.tell(proposal.handle, max(curve) if self.maximize else min(curve))
        return _trial(self._study.trials[proposal.number], self.maximize)


def _suggest(trial: optuna.Trial, name: str) -> str:
    allowed = RANGES[name]
    if isinstance(allowed, Choice):
        return f"{trial.suggest_categorical(name, allowed.values):g}"
    if allowed.integer:
        return str(trial.suggest_int(name, int(allowed.minimum), int(allowed.maximum), log=allowed.logarithmic))
    value = trial.suggest_float(name, allowed.minimum, allowed.maximum, log=allowed.logarithmic)
    return f"{value:.{DIGITS}g}"


def _is_in_range(name: str, value: object) -> bool:
    allowed = RANGES[name]
    if isinstance(allowed, Choice):
        return value in allowed.values
    return isinstance(value, int | float) and allowed.minimum <= value <= allowed.maximum


def _has_ended(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or FAILED in trial.user_attrs


def _trial(trial: FrozenTrial, maximize: bool) -> Trial:
    curve = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    best, state = (max if maximize else min)(curve, default=None), "given up"
    if trial.state == TrialState.COMPLETE:
        best, state = trial.value, "done"
    elif FAILED in trial.user_attrs:
        best, state = None, "failed"
    return Trial(
        number=trial.number,
        values=trial.user_attrs[VALUES],
        curve=curve,
        best=best,
        state=state,
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
    )
