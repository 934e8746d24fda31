"""A trainer that does as its hyperparameter `behaviour` says, for tests of what surrounds trainers."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ogiri.artifact import write_manifest
from ogiri.parameter import parameter
from ogiri.sagemaker.training import signals
from ogiri.task import PlatformError, TrainingContext, UserError

PATIENCE_SECONDS = 50  # a test that forgets its signal fails, it does not hang


def until_stopped(stopping):
    """Wait as a training step would."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not stopping():
        if time.monotonic() > deadline:
            raise TimeoutError("nothing came")
        time.sleep(0.01)


if "TOY_SLOW_IMPORT" in os.environ:  # as the import of torch
    print("importing", flush=True)
    until_stopped(signals.stopping)


@dataclass(frozen=True)
class Hyperparameters:
    behaviour: str = parameter("train", "what to do")
    epochs: int = parameter(1, "passes", minimum=1, maximum=100)
    learning_rate: float = parameter(0.1, "of nothing", above=0)
    quantize: bool = parameter(True, "whether to")


class Toy:
    """Writes an artifact that holds its context."""

    hyperparameters = Hyperparameters

    def run(self, context: TrainingContext) -> Path:
        """Do as told."""
        behaviour = context.hyperparameters.behaviour
        if behaviour == "wait":
            context.report_metrics({"started": 1})
            until_stopped(context.stopping)
        if behaviour == "take your time":
            until_stopped(context.stopping)
            context.report_metrics({"stopping": 1})
            until_stopped((context.checkpoints / "go").exists)
        if behaviour == "user error":
            raise UserError("the training channel holds no pictures: send some")
        if behaviour == "platform error":
            raise PlatformError("DynamoDB did not answer for 5 minutes")
        if behaviour == "bug":
            try:
                {}["missing"]
            except KeyError as error:
                raise RuntimeError("export failed") from error
        if behaviour == "exit":
            sys.exit(0)
        if behaviour == "nothing" or (context.stopping() and behaviour == "train"):
            return context.model
        if behaviour == "fork":
            return self.fork(context)
        context.report_metrics({"train_loss": 1.5, "validation_loss": float("nan")})
        seen = {
            "hyperparameters": asdict(context.hyperparameters),
            "channels": {name: str(path) for name, path in context.channels.items()},
            "folders": [str(context.model), str(context.output), str(context.checkpoints)],
            "job_name": context.job_name,
        }
        (context.model / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
        if (context.output / "report.html").exists():  # a job with reports has a card too
            (context.model / "MODEL_CARD.md").write_text("# toy\n", encoding="utf-8")
        write_manifest(context.model, {"task": "toy", "name": "toy"})
        return context.model

    def fork(self, context: TrainingContext) -> Path:
        """A worker that loads data: it ends when told to, and a Ctrl-C is not for it."""
        child = os.fork()
        if child == 0:
            os.write(1, f"child={os.getpid()};\n".encode())
            time.sleep(PATIENCE_SECONDS)
            os._exit(7)
        status = os.waitpid(child, 0)[1]
        context.report_metrics({"ended_by": os.WTERMSIG(status)})
        return context.model


TRAINER = Toy()
