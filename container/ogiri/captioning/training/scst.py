"""Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563): drawn lines are rewarded with their CIDEr-D.

A line's baseline is the mean reward of the other lines that were drawn for its picture (Luo 2020, arXiv:2003.09971).
For descriptions only: it teaches a model to write what most people wrote, which is the opposite of a joke.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ogiri.captioning.model.decoder import Decoder, Prefix
from ogiri.captioning.model.tokenizer import Tokenizer
from ogiri.captioning.training.cider import CiderD
from ogiri.captioning.training.examples import IGNORED, batch_without_lines, places_of
from ogiri.captioning.training.fitting import Fitting, Progress
from ogiri.captioning.training.metrics import Tokens, segment
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.precision import autocast
from ogiri.captioning.training.stage import Stage
from ogiri.captioning.training.walk import Dice, Mean, walk

DRAWN_LINES = 5  # a picture and step
WORTH_A_COPY = 0.8  # share of rows still written below which the others are dropped: that copies all states
END = "\n"  # no token of a segmented line


@dataclass(frozen=True)
class Drawn:
    """Lines that the model drew.

    Attributes:
        tokens: (rows, time) begin token and line.
        targets: (rows, time) line and end token, `IGNORED` after it; a line that found no end has none.
    """

    tokens: Tensor
    targets: Tensor

    def lines(self, eos: int) -> list[list[int]]:
        """Tokens of each line, without begin and end."""
        rows: list[list[int]] = self.targets.tolist()
        return [[token for token in row if token not in (IGNORED, eos)] for row in rows]


class SelfCritical:
    """What is needed to reward lines: the references, prepared, and how text is cut into tokens."""

    def __init__(
        self, references: Sequence[Sequence[str]], tokenizer: Tokenizer, kind: Tokens, max_tokens: int
    ) -> None:
        """Args: references: lines of each training picture; kind: what CIDEr-D counts; max_tokens: of a drawn line."""
        self._tokenizer, self._kind, self._max_tokens = tokenizer, kind, max_tokens
        self._cider = CiderD([[self._counted(line) for line in lines] for lines in references])

    def epoch(
        self, model: Model, work: Fitting, progress: Progress, stage: Stage, save: Callable[[], None]
    ) -> dict[str, float]:
        """Take every training picture once, those that a checkpoint within the epoch has seen not again.

        Returns:
            `train_reward`, the mean CIDEr-D of the lines that were drawn, and `pictures_per_second`.

        Raises:
            Stopped: the job is asked to end.
            FloatingPointError: the loss is no number any more.
        """
        hp = work.hyperparameters
        rng = np.random.default_rng([hp.seed, progress.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        order = picture_batches(len(work.train.rows), hp.batch_size, rng)
        model.train(False)
        mean, dice = Mean("train_reward"), Dice(rng, work.device)
        for pictures in walk(order, work, progress, mean, dice, save):
            own, loss = work.ranks.share(pictures), NOTHING
            if len(own):
                batch = batch_without_lines(work.train, own, rng, hp.condition_dropout)
                with autocast(hp.precision, work.device):
                    prefix = model.prefix(batch, work.device, map_dropout=hp.map_dropout)
                    loss = self.loss(model.decoder, prefix, own)
            value, (reward,) = stage.step(loss.value, loss.tokens, [loss.reward * len(own)])
            if not math.isfinite(value.item()):
                raise FloatingPointError(
                    f"the loss is {value.item()} in epoch {progress.epoch + 1}: try a lower scst_learning_rate"
                )
            progress.steps += 1
            mean.add(reward / len(pictures), len(pictures))
        return {"train_reward": mean.value, "pictures_per_second": mean.per_second, "epoch_seconds": mean.seconds}

    def loss(self, decoder: Decoder, prefix: Prefix, pictures: npt.NDArray[np.int64]) -> Loss:
        """The loss whose gradient raises the reward of lines.

        Args:
            decoder: without dropout: lines are drawn from, and their gradient is taken of, the one that will be served.
            prefix: what all lines of each picture are drawn and learned with, (pictures, …).
            pictures: (pictures,) indices into the references.
        """
        drawn = draw(decoder, prefix, DRAWN_LINES, self._tokenizer, self._max_tokens)
        rewards = self.rewards(pictures, drawn)
        places = places_of(drawn.targets)
        logits = decoder(prefix, drawn.tokens, DRAWN_LINES, places)
        targets = drawn.targets.flatten()[places]
        chosen = functional.log_softmax(logits.float(), -1).gather(-1, targets[:, None])[:, 0]
        weight = advantages(rewards).flatten().to(logits.device)[places // drawn.targets.shape[1]]
        return Loss(-(weight * chosen).mean(), float(rewards.mean()), len(chosen))

    def rewards(self, pictures: npt.NDArray[np.int64], drawn: Drawn) -> Tensor:
        """CIDEr-D of each line, its end counted as a token: (pictures, lines)."""
        texts = [self._tokenizer.decode(line) for line in drawn.lines(self._tokenizer.eos)]
        scores = [
            self._cider.score(int(picture), self._counted(text))
            for picture, text in zip(np.repeat(pictures, DRAWN_LINES), texts, strict=True)
        ]
        return torch.tensor(scores).reshape(len(pictures), DRAWN_LINES)

    def _counted(self, text: str) -> list[str]:
        """What is counted of a line, its end too: else "a man in a" would do, all of which stands in longer lines."""
        return [*segment(text, self._kind), END]


@dataclass(frozen=True)
class Loss:
    """What came of a step's lines, or of this process's share of them.

    Attributes:
        value: the loss, a mean over tokens; None where nothing was drawn.
        reward: the mean of the lines.
        tokens: of the lines.
    """

    value: Tensor | None
    reward: float
    tokens: int


NOTHING = Loss(None, 0.0, 0)


def picture_batches(
    pictures: int, batch_size: int, rng: np.random.Generator | None = None
) -> list[npt.NDArray[np.int64]]:
    """All pictures, shuffled with `rng`, in batches for which about `batch_size` lines are drawn."""
    order = np.arange(pictures) if rng is None else rng.permutation(pictures)
    size = max(1, batch_size // DRAWN_LINES)
    return [order[i : i + size] for i in range(0, pictures, size)]


def advantages(rewards: Tensor) -> Tensor:
    """How much better each line is than the others of its picture on the average: (pictures, lines) → the same."""
    lines = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdim=True)) * lines / (lines - 1)


@torch.no_grad()
def draw(decoder: Decoder, prefix: Prefix, lines: int, tokenizer: Tokenizer, max_tokens: int) -> Drawn:
    """Draw lines from the model's own distribution; those of a picture stand together.

    Args:
        decoder: in whatever mode it is.
        prefix: of (pictures, …).
        lines: for each picture.
        tokenizer: for its begin and end tokens.
        max_tokens: of a line, its end counted.
    """
    pictures, device = len(prefix), prefix.map.device
    begin = torch.full((pictures, 1), tokenizer.bos, dtype=torch.int64, device=device)
    logits, state = decoder.advance(begin, prefix, decoder.initial_state(pictures, device))
    rows = torch.arange(pictures * lines, device=device)
    running = torch.ones_like(rows, dtype=torch.bool)  # which of these rows are still written
    state = {name: value.repeat_interleave(lines, 0) for name, value in state.items()}
    logits, empty = logits.repeat_interleave(lines, 0), prefix.emptied().take(rows // lines)
    targets = torch.full((len(rows), max_tokens), IGNORED, dtype=torch.int64, device=device)
    for step in range(max_tokens):
        chosen = _drawn(logits[:, -1].float().softmax(-1))
        targets[rows, step] = chosen[:, 0].masked_fill(~running, IGNORED)
        running = running & (chosen[:, 0] != tokenizer.eos)
        live = running.nonzero()[:, 0]
        if len(live) == 0 or step == max_tokens - 1:
            break
        if len(live) < WORTH_A_COPY * len(rows):
            rows, running, chosen, empty = rows[live], running[live], chosen[live], empty.take(live)
            state = {name: value[live] for name, value in state.items()}
        logits, state = decoder.advance(chosen, empty, state)
    targets = targets[:, : step + 1]
    tokens = targets.masked_fill(targets == IGNORED, tokenizer.eos).roll(1, 1)
    tokens[:, 0] = tokenizer.bos
    return Drawn(tokens, targets)


def _drawn(shares: Tensor) -> Tensor:
    """A token of each row, (rows, vocabulary) → (rows, 1), with one random number a row: multinomial takes one each."""
    mass = shares.cumsum(-1)
    point = torch.rand(len(mass), 1, device=mass.device) * mass[:, -1:]
    return torch.searchsorted(mass, point, right=True).clamp(max=mass.shape[1] - 1)
