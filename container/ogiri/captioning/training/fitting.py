"""What training is given, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.examples import Examples
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.profile_summary import Profile
from ogiri.captioning.training.ranks import Ranks


@dataclass
class Progress:
    """Where training stands; all of it is in the checkpoint.

    Attributes:
        epoch: epochs done.
        steps: updates of the weights done.
        history: metrics of each epoch.
        best: the best validation figure, higher is better.
        best_epoch: when it was seen.
        best_weights: as `Model.state_dict`; empty until something was validated.
        stage: which of the stages is under way, 0 = cross-entropy, 1 = self-critical.
        stage_began: epochs done before it.
        within: where the epoch under way stands, see `walk`; empty between two.
    """

    epoch: int = 0
    steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    stage: int = 0
    stage_began: int = 0
    within: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitting:
    """What `fit` needs beside the model.

    Attributes:
        train, validation: lines with their pictures; `validation` may be empty.
        references: the lines of each validation picture, for BLEU and CIDEr.
        train_references: those of each training picture, for the rewards of self-critical training.
        tokenizer: of the lines.
        hyperparameters: of the job.
        device: where to compute.
        checkpoint: the file that training goes on from.
        fingerprint: of data and hyperparameters; a checkpoint of another is not used.
        stopping: true once the job is asked to end; the same in all processes.
        report_metrics: takes the metrics of an epoch.
        profile: takes where the time goes.
        job_name: of the training job, which its checkpoints carry.
        ranks: the processes that share the work.
    """

    train: Examples
    validation: Examples
    references: Sequence[list[str]]
    train_references: Sequence[list[str]]
    tokenizer: Tokenizer
    hyperparameters: CaptionHyperparameters
    device: torch.device
    checkpoint: Path
    fingerprint: str
    stopping: Callable[[], bool]
    report_metrics: Callable[[Mapping[str, float]], None]
    profile: Profile = field(default_factory=Profile)
    job_name: str = ""
    ranks: Ranks = field(default_factory=Ranks)


class Stopped(Exception):
    """The job was asked to end in the middle of an epoch."""
