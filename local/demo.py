"""The whole loop on this machine, with no AWS account: pictures and lines in, a model that answers over HTTP out.

    make demo
    make demo CSV=rows.csv IMAGES=folder EPOCHS=20 PRETRAINED=weights HYPERPARAMETERS='patience=3 seed=1'

S3, DynamoDB and Rekognition are stood in for on loopback; ingest, `container/train` and `container/serve` are the real
ones. Everything that it starts ends with it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import job
from local.aws import EmbeddedAWS, embedded_aws
from local.endpoint import Endpoint, EndpointError, pack, picture_request, serving, unpack
from local.options import OptionError, Options, parse
from local.page import Answered, Candidate, Page, render
from local.process import ProcessError
from local.rekognition import Rekognition, rekognition_server
from local.step import Step, Steps
from ogiri_aws.ingest import Destination, IngestError, Report, ingest
from ogiri_aws.items import Items, group
from ogiri_aws.rows import CsvError, read_rows

JOB_NAME = "ogiri-demo"
IMAGES_PREFIX = "images/"
CANDIDATES = 3
MAX_SHOWN = 36
SHOWN_ERRORS = 5
NOTICE_LEARNS_TO_SEE = (
    "No pretrained encoder: this model learns to see from your pictures alone, which takes thousands of them. "
    "With PRETRAINED=folder (mobilenet_v2.pth, for example) it starts with eyes."
)
_EXPECTED = (
    OptionError,
    CsvError,
    IngestError,
    job.JobError,
    EndpointError,
    ProcessError,
    ClientError,
    BotoCoreError,
)


class DemoError(RuntimeError):
    """A step that cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Folders:
    """Where things lie below `out`."""

    out: Path

    @property
    def training(self) -> Path:
        """/opt/ml of the training job."""
        return self.out / "opt-ml-train"

    @property
    def hosting(self) -> Path:
        """/opt/ml of the endpoint."""
        return self.out / "opt-ml-serve"

    @property
    def archive(self) -> Path:
        """What SageMaker would keep in S3."""
        return self.out / "model.tar.gz"

    @property
    def page(self) -> Path:
        """What to look at."""
        return self.out / "index.html"

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.out / "logs" / f"{name}.log"


def main() -> int:
    """Run the demo; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        demo(parse())
    except (DemoError, *_EXPECTED) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything it started has ended", file=sys.stderr)
        return 130
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def demo(options: Options) -> None:
    """Every step, in the order of the data's way."""
    folders = Folders(options.out)
    folders.log("").parent.mkdir(parents=True, exist_ok=True)
    steps = Steps(8)
    with contextlib.ExitStack() as cloud:
        with steps.step("Read the rows" if options.csv else "Draw the example pictures") as step:
            items, images = rows(options, step)
        with steps.step("Start S3, DynamoDB and Rekognition on this machine") as step:
            aws, rekognition = cloud.enter_context(embedded_cloud(options, folders, step))
        with steps.step("Ingest: pictures to S3, labels and text from Rekognition, records to DynamoDB") as step:
            report = ingested(items, images, aws, step)
        with steps.step("Train: container/train") as step:
            train(options, folders, aws, step)
    with steps.step("Pack model.tar.gz, and unpack it as SageMaker does") as step:
        size = pack(folders.training / "model", folders.archive)
        unpack(folders.archive, folders.hosting)
        step.result = f"{size / 1e6:.1f} MB"
    with contextlib.ExitStack() as hosting:
        with steps.step("Serve: container/serve behind nginx, until /ping says 200") as step:
            started = serving(folders.hosting, _plain_environment(), folders.log("serve"))
            endpoint = hosting.enter_context(started)
            step.result = endpoint.url
        with steps.step(f"Ask for {CANDIDATES} lines for each picture that was held out") as step:
            answered = asked(endpoint, folders, step)
    with steps.step("Write the page") as step:
        notices = list(rekognition.notices)
        if options.csv and not options.pretrained:
            notices.insert(0, NOTICE_LEARNS_TO_SEE)
        write_page(folders, answered, report, steps, notices)
        step.result = str(folders.page)
    print(closing(folders, steps))


def rows(options: Options, step: Step) -> tuple[Items, Path | None]:
    """The pictures with their lines, and the folder that the pictures lie in."""
    csv, images = options.csv, options.images
    if csv is None:
        from examples.draw import draw

        shutil.rmtree(options.out / "examples", ignore_errors=True)
        csv = draw(options.out / "examples", step.progress)
        images = csv.parent / "images"
    elif options.pretrained is None:
        step.say(NOTICE_LEARNS_TO_SEE)
    with csv.open("rb") as file:
        items = group(read_rows(file))
    _say_errors(step, [str(error) for error in items.errors])
    if not items.pictures:
        raise DemoError(f"{csv} has no row that can be used: it needs image_url,expected_result[,score]")
    step.result = f"{len(items.pictures)} pictures with {sum(len(item.lines) for item in items.pictures)} lines"
    return items, images


@contextlib.contextmanager
def embedded_cloud(options: Options, folders: Folders, step: Step) -> Iterator[tuple[EmbeddedAWS, Rekognition]]:
    """S3, DynamoDB and Rekognition on loopback."""
    with (
        embedded_aws(log=folders.log("aws")) as aws,
        rekognition_server(
            aws.process_environment(), pretrained=options.pretrained, log=folders.log("rekognition")
        ) as rekognition,
    ):
        for notice in rekognition.notices:
            step.say(notice)
        yield aws.with_rekognition(rekognition.endpoint_url), rekognition


def ingested(items: Items, images: Path | None, aws: EmbeddedAWS, step: Step) -> Report:
    """What the Lambdas do, in one process."""
    destination = Destination(aws.bucket, aws.table, IMAGES_PREFIX)
    with aws.applied():
        report = ingest(items.pictures, destination, folder=images, progress=step.progress)
    _say_errors(step, [str(error) for error in report.errors])
    if not report.written:
        raise DemoError("no record was written, so there is nothing to learn from")
    step.result = f"{report.written} records, {report.analysed} pictures analysed"
    return report


def train(options: Options, folders: Folders, aws: EmbeddedAWS, step: Step) -> None:
    """One training job."""
    job.prepare(folders.training, options.hyperparameters, {"training": None, "pretrained": options.pretrained})
    if options.pretrained is None:
        (folders.training / "input" / "data" / "pretrained").rmdir()
    channel = folders.training / "input" / "data" / "training"
    job.download(aws.client("s3"), aws.bucket, IMAGES_PREFIX, channel, lambda done, total: None)
    environment = aws.process_environment() | {"DYNAMODB_TABLE_NAME": aws.table, "TRAINING_JOB_NAME": JOB_NAME}
    step.say(" ".join(f"{name}={value}" for name, value in options.hyperparameters.items()))
    job.train(folders.training, environment, folders.log("train"), _epochs(options, step))
    facts = _metrics(folders)
    step.result = f"{facts['train_lines']} lines for {facts['train_pictures']} pictures, {facts['epochs']} epochs"


def asked(endpoint: Endpoint, folders: Folders, step: Step) -> list[Answered]:
    """Lines for the pictures that the trainer did not learn from."""
    samples = folders.training / "output" / "data" / "samples.jsonl"
    held_out = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()][:MAX_SHOWN]
    answered = []
    for done, sample in enumerate(held_out, start=1):
        picture = (folders.training / "input" / "data" / "training" / sample["image_key"]).read_bytes()
        parameters = {"num_candidates": CANDIDATES, "seed": 0}
        labels, text = sample.get("labels") or [], sample.get("detected_text") or ""
        captions = endpoint.invoke(picture_request(picture, labels, text, parameters))["captions"]
        candidates = [Candidate(caption["text"], caption["score"]) for caption in captions]
        names = [(label["Name"], label.get("Confidence")) for label in labels]
        answered.append(Answered(picture, candidates, sample["references"], names, text))
        step.progress(done, len(held_out))
        step.say(f"{sample['image_key']}  {', '.join(name for name, _ in names[:4])}{f'  「{text}」' if text else ''}")
        for candidate in candidates:
            step.say(f"  {candidate.score:6.2f}  {candidate.text}")
    step.result = f"{len(answered)} pictures"
    return answered


def write_page(folders: Folders, answered: list[Answered], report: Report, steps: Steps, notices: list[str]) -> None:
    """index.html."""
    metrics = _metrics(folders)
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
        notices=[*notices, *(metrics.get("warnings") or ())],
        commands=_commands(folders),
    )
    folders.page.write_text(render(page), encoding="utf-8")


def closing(folders: Folders, steps: Steps) -> str:
    """What to do next."""
    commands = "\n".join(f"{title}:\n  {command}" for title, command in _commands(folders).items())
    return f"\nDone in {sum(steps.seconds.values()):.0f} s. Look at {folders.page.resolve()}\n{commands}"


def _commands(folders: Folders) -> dict[str, str]:
    picture = next(iter(sorted((folders.training / "input" / "data" / "training").iterdir())))
    kind = "image/png" if picture.suffix.lower() == ".png" else "image/jpeg"
    return {
        "Serve the model again": (
            f'PATH="$PWD/.venv/bin:$PATH:/usr/sbin" SAGEMAKER_BASE_DIR={_shown(folders.hosting)} container/serve'
        ),
        "Ask it": f"curl -H 'Content-Type: {kind}' --data-binary @{_shown(picture)} localhost:8080/invocations",
    }


def _shown(path: Path) -> Path:
    path = path.resolve()
    return path.relative_to(job.ROOT) if path.is_relative_to(job.ROOT) else path


def _epochs(options: Options, step: Step) -> Callable[[str], None]:
    total = int(options.hyperparameters["epochs"])

    def on_line(line: str) -> None:
        values = dict(re.findall(r"(\w+)=([-\d.]+);", line))
        if "epoch" in values and "train_loss" in values:
            losses = [
                f"{name} {float(values[name]):.3f}" for name in ("train_loss", "validation_loss") if name in values
            ]
            step.progress(int(float(values["epoch"])), total, ", ".join(losses))

    return on_line


def _metrics(folders: Folders) -> dict[str, Any]:
    path = folders.training / "output" / "data" / "metrics.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _say_errors(step: Step, errors: list[str]) -> None:
    for error in errors[:SHOWN_ERRORS]:
        step.say(f"left out: {error}")
    if len(errors) > SHOWN_ERRORS:
        step.say(f"left out: {len(errors) - SHOWN_ERRORS} more rows")


def _plain_environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _interrupt(number: int, frame: object) -> None:
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)  # or a second Ctrl-C would leave servers behind
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
