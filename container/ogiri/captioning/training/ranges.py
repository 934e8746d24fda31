"""Which hyperparameters are worth trying, in which range: what `make tune` and tuning jobs of SageMaker go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Numbers to try.

    Attributes:
        minimum, maximum: inclusive.
        why: one line for people.
        logarithmic: search orders of magnitude.
        integer: whole numbers only.
    """

    minimum: float
    maximum: float
    why: str
    logarithmic: bool = False
    integer: bool = False

    def describe(self) -> str:
        """The range in words: `0.0003 to 0.004, logarithmic`."""
        return f"{self.minimum:g} to {self.maximum:g}" + (", logarithmic" if self.logarithmic else "")


@dataclass(frozen=True)
class Choice:
    """The only values to try."""

    values: tuple[float, ...]
    why: str

    def describe(self) -> str:
        """The values in words: `256, 384 or 512`."""
        *first, last = (f"{value:g}" for value in self.values)
        return f"{', '.join(first)} or {last}"


@dataclass(frozen=True)
class Objective:
    """A metric that a search can go by.

    Attributes:
        maximize: more is better.
        select_by: the hyperparameter of that name which makes a job ship the epoch that is best by the same metric.
    """

    maximize: bool
    select_by: str


RANGES: Mapping[str, Range | Choice] = {
    "learning_rate": Range(
        3e-4, 4e-3, "too high: the loss jumps, or every picture gets one line; too low: still falling at the end", True
    ),
    "dropout": Range(0.1, 0.6, "the fewer lines, the more"),
    "label_smoothing": Range(0.0, 0.2, "less sure of every token, more variety in what is sampled"),
    "batch_size": Range(32, 256, "smaller = more steps an epoch, for few lines", True, True),
    "weight_decay": Range(1e-3, 0.3, "beside dropout it matters little", True),
    "condition_dropout": Range(0.0, 2.0, "more: leans on the picture; less: on labels and text"),
    "warmup_ratio": Range(0.0, 0.2, "more lets a higher learning_rate pass"),
    "average_decay": Choice((0, 0.99, 0.999, 0.9995), "the fewer steps in all, the lower"),
    "decoder_width": Choice((256, 384, 512, 768), "wider for many lines; it decides the size of the model"),
}
"""What matters most comes first. Each range holds the hyperparameter's default, unless that is 0 for automatic."""

FIRST = ("learning_rate", "dropout", "label_smoothing", "batch_size")
"""What a search of a few trials looks at."""

OBJECTIVES: Mapping[str, Objective] = {
    "validation_cider": Objective(True, "cider"),
    "validation_bleu": Objective(True, "bleu"),
    "validation_chrf": Objective(True, "chrf"),
    "validation_loss": Objective(False, "loss"),
    "validation_nats_per_character": Objective(False, "loss"),
}
DEFAULT_OBJECTIVE = "validation_cider"
