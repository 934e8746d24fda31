"""The whole loop on this machine, with no AWS account: pictures and lines in, a model that answers over HTTP out.

    make demo
    make demo CSV=rows.csv IMAGES=folder EPOCHS=20 PRETRAINED=weights HYPERPARAMETERS='patience=3 seed=1'

The stack of template.yaml stands in for the account: S3, DynamoDB, the rules, the state machine's own definition and
the functions, with `container/train` and `container/serve` behind the local SageMaker. Everything that it starts ends
with it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import boto3

from local import job, loop, program, stage
from local.folders import Folders
from local.options import Options, parse
from local.page import Answered, Page, render
from local.sagemaker.cloud import local_cloud
from local.stack import StackError
from local.step import Steps

END_TRAINING_LOG = "ogiri-end-training"


def main() -> int:
    """Run the demo; returns the exit code."""
    return program.run("demo", lambda: demo(parse()), StackError)


def demo(options: Options) -> None:
    """Every step, in the order of the data's way."""
    folders = Folders(options.out)
    _empty(folders)
    steps = Steps(8)
    epochs = int(options.hyperparameters["epochs"])
    parameters = {
        "TrainingHyperparameters": json.dumps(dict(options.hyperparameters)),
        "Pretrained": "true" if options.pretrained else "false",
    }
    with contextlib.ExitStack() as running:
        with steps.step("Read the rows" if options.csv else "Draw the example pictures") as step:
            csv, images = stage.source(options, step)
        with steps.step("Create the stack of template.yaml on this machine") as step:
            started = local_cloud(folders.out, parameters=parameters, pretrained=options.pretrained)
            cloud = running.enter_context(started)
            for notice in cloud.rekognition.notices:
                step.say(notice)
            step.result = (
                f"{cloud.aws.endpoint_url}, SageMaker at {cloud.aws.environment['AWS_ENDPOINT_URL_SAGEMAKER']}"
            )
        with steps.step("Upload pictures and CSV") as step:
            rows = loop.upload(csv, images, options.pretrained, cloud, step)
        with steps.step(
            "State machine: pictures to S3, labels and text from Rekognition, records to DynamoDB, a job"
        ) as step:
            name = loop.walked(cloud, rows, step)
        folders.link(folders.training, folders.out / "training-jobs" / name / "opt-ml")
        with steps.step(f"Training job {name}: container/train") as step:
            step.say(" ".join(f"{name}={value}" for name, value in options.hyperparameters.items()))
            loop.trained(name, folders.out / "training-jobs" / name / "train.log", epochs, step)
        with steps.step("Its event: end_training puts the model behind the endpoint, container/serve") as step:
            loop.served(cloud, name, folders.log(END_TRAINING_LOG), step)
        folders.link(folders.hosting, folders.out / "endpoints" / f"{cloud.endpoint}-1" / "opt-ml")
        boto3.client("s3").download_file(cloud.aws.bucket, f"models/{name}/output/model.tar.gz", str(folders.archive))
        with steps.step(f"invoke_endpoint: {loop.CANDIDATES} lines for each picture that was held out") as step:
            answered = loop.asked(cloud, folders, step)
        with steps.step("Write the page") as step:
            notices = [stage.NOTICE_LEARNS_TO_SEE] if options.csv and not options.pretrained else []
            write_page(folders, answered, steps, cloud.rekognition.notices, notices)
            step.result = str(folders.page)
    print(closing(folders, steps))


def write_page(
    folders: Folders,
    answered: list[Answered],
    steps: Steps,
    sources: Sequence[str],
    notices: Sequence[str],
) -> None:
    """index.html."""
    metrics = folders.metrics()
    summary = (
        f"A CSV was uploaded; the state machine, a training job of {metrics['train_lines']} lines for "
        f"{metrics['train_pictures']} pictures and an endpoint came of it, all on this machine. "
        f"The {len(answered)} pictures below were held out of training."
    )
    page = Page(
        title="ogiri: a picture, a line",
        summary=summary,
        answered=answered,
        metrics=metrics,
        seconds=steps.seconds,
        sources=sources,
        notices=[*notices, *(metrics.get("warnings") or ())],
        commands=_commands(folders),
    )
    folders.page.write_text(render(page), encoding="utf-8")


def closing(folders: Folders, steps: Steps) -> str:
    """What to do next."""
    commands = "\n".join(f"{title}:\n  {command}" for title, command in _commands(folders).items())
    return f"\nDone in {sum(steps.seconds.values()):.0f} s. Look at {folders.page.resolve()}\n{commands}"


def _commands(folders: Folders) -> dict[str, str]:
    picture = folders.pictures / folders.samples()[0]["image_key"]
    return {
        "Serve the model again": (
            f'PATH="$PWD/.venv/bin:$PATH:/usr/sbin" SAGEMAKER_BASE_DIR={_shown(folders.hosting)} container/serve'
        ),
        "Ask it": (
            f"curl -H 'Content-Type: application/x-image' --data-binary @{_shown(picture)} localhost:8080/invocations"
        ),
    }


def _empty(folders: Folders) -> None:
    """Remove what an earlier demo has left, but for its example pictures."""
    for path in (folders.training, folders.hosting):
        if path.is_symlink():
            path.unlink()
    for path in (
        folders.training,
        folders.hosting,
        *(folders.out / name for name in ("training-jobs", "endpoints", "logs")),
    ):
        shutil.rmtree(path, ignore_errors=True)
    (folders.out / "logs").mkdir(parents=True)


def _shown(path: Path) -> Path:
    path = path.absolute()
    return path.relative_to(job.ROOT) if path.is_relative_to(job.ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
