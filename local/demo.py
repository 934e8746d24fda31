"""The whole loop on this machine, with no AWS account: pictures and lines in, a model that answers over HTTP out.

    make demo
    make demo CSV=rows.csv IMAGES=folder EPOCHS=20 PRETRAINED=weights HYPERPARAMETERS='patience=3 seed=1'

S3, DynamoDB and Rekognition are stood in for on loopback; ingest, `container/train` and `container/serve` are the real
ones. Everything that it starts ends with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local import job, program, stage
from local.endpoint import serving, unpack
from local.folders import Folders
from local.options import Options, parse
from local.page import Answered, Page, render
from local.step import Steps
from ogiri import artifact
from ogiri_aws.ingest import Report


def main() -> int:
    """Run the demo; returns the exit code."""
    return program.run("demo", lambda: demo(parse()))


def demo(options: Options) -> None:
    """Every step, in the order of the data's way."""
    folders = Folders(options.out)
    (folders.out / "logs").mkdir(parents=True, exist_ok=True)
    steps = Steps(8)
    with contextlib.ExitStack() as cloud:
        with steps.step("Read the rows" if options.csv else "Draw the example pictures") as step:
            items, images = stage.rows(options, step)
        with steps.step("Start S3, DynamoDB and Rekognition on this machine") as step:
            aws, rekognition = cloud.enter_context(stage.embedded_cloud(options, folders, step))
        with steps.step("Ingest: pictures to S3, labels and text from Rekognition, records to DynamoDB") as step:
            report = stage.ingested(items, images, aws, step)
        with steps.step("Train: container/train") as step:
            stage.train(options, folders, aws, step)
    with steps.step("Pack model.tar.gz, and unpack it as SageMaker does") as step:
        artifact.pack(folders.training / "model", folders.archive)
        unpack(folders.archive, folders.hosting)
        step.result = f"{folders.archive.stat().st_size / 1e6:.1f} MB"
    with contextlib.ExitStack() as hosting:
        with steps.step("Serve: container/serve behind nginx, until /ping says 200") as step:
            started = serving(folders.hosting, os.environ, folders.log("serve"))
            endpoint = hosting.enter_context(started)
            step.result = endpoint.url
        with steps.step(f"Ask for {stage.CANDIDATES} lines for each picture that was held out") as step:
            answered = stage.asked(endpoint, folders, step)
    with steps.step("Write the page") as step:
        notices = [stage.NOTICE_LEARNS_TO_SEE] if options.csv and not options.pretrained else []
        write_page(folders, answered, report, steps, rekognition.notices, notices)
        step.result = str(folders.page)
    print(closing(folders, steps))


def write_page(
    folders: Folders,
    answered: list[Answered],
    report: Report,
    steps: Steps,
    sources: Sequence[str],
    notices: Sequence[str],
) -> None:
    """index.html."""
    metrics = folders.metrics()
    summary = (
        f"{report.pictures} pictures with {report.written} lines went through S3, DynamoDB, container/train and "
        f"container/serve on this machine. The {len(answered)} pictures below were held out of training."
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


def _shown(path: Path) -> Path:
    path = path.resolve()
    return path.relative_to(job.ROOT) if path.is_relative_to(job.ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
