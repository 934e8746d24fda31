"""What `make tune` was asked for, checked before anything starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local import options
from local.options import OptionError, Options
from ogiri.captioning.training.ranges import DEFAULT_OBJECTIVE, FIRST, OBJECTIVES, RANGES

DEFAULT_TRIALS = 8
OUT = Path("build/tune")


@dataclass(frozen=True)
class TuneOptions:
    """What to search.

    Attributes:
        demo: the data, and the hyperparameters that every trial shares.
        metric: what is compared, as a job prints it.
        trials: how many there are to be in all, those of an earlier start included.
        parameters: names in `RANGES`, those that differ from trial to trial.
    """

    demo: Options
    metric: str
    trials: int
    parameters: tuple[str, ...]


def parse(arguments: Sequence[str] | None = None) -> TuneOptions:
    """Options from the command line.

    Raises:
        OptionError: an unknown name, a number that makes no sense, or what the demo would refuse.
    """
    parser = argparse.ArgumentParser(
        prog="python -m local.tune",
        description="Try hyperparameters, one training job after the other, and say which were best.",
        epilog="The data as for local.demo: --csv, --images, --epochs, --encoder, --pretrained, --hyperparameter.",
    )
    parser.add_argument("--trials", default=str(DEFAULT_TRIALS), help="jobs in all; a stopped search goes on")
    parser.add_argument("--metric", default=DEFAULT_OBJECTIVE, help=f"what is compared ({DEFAULT_OBJECTIVE})")
    parser.add_argument("--parameter", action="append", help=f"what differs; by default {', '.join(FIRST)}")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for everything ({OUT})")
    given, rest = parser.parse_known_args(arguments)
    demo = options.parse([*rest, "--out", str(given.out)])
    parameters = tuple(dict.fromkeys(given.parameter or FIRST))
    _check(given.metric, given.trials, parameters, _set_by_hand(rest))
    return TuneOptions(demo, given.metric, int(given.trials), parameters)


def _check(metric: str, trials: str, parameters: tuple[str, ...], by_hand: set[str]) -> None:
    if metric not in OBJECTIVES:
        raise OptionError(f"METRIC is {metric}: it must be one of {', '.join(OBJECTIVES)}")
    if not trials.isascii() or not trials.isdigit() or int(trials) < 1:
        raise OptionError(f"TRIALS is {trials}: it must be a whole number, at least 1")
    for name in parameters:
        if name not in RANGES:
            raise OptionError(f"PARAMETERS has {name}: there are ranges for {', '.join(RANGES)}")
        if name in by_hand:
            raise OptionError(f"{name} is set and searched at once: take it out of HYPERPARAMETERS, or of PARAMETERS")


def _set_by_hand(arguments: Sequence[str]) -> set[str]:
    """The hyperparameters that the user has set."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--hyperparameter", action="append", default=[])
    given, _ = parser.parse_known_args(arguments)
    return {pair.partition("=")[0] for pair in given.hyperparameter}
