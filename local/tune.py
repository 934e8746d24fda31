"""Try hyperparameters, one real training job after the other, and say which were best.

    make tune
    make tune CSV=rows.csv IMAGES=folder PRETRAINED=weights EPOCHS=10 TRIALS=16 PARAMETERS='learning_rate dropout'

The data goes the demo's way once, and lies in the channels `training` and `records` from then on. A trial is
`container/train` on them, with the pictures as the first trial has encoded them. A search that was stopped goes on when
it is started again with the same question; a larger TRIALS makes it longer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from local import job, program, stage
from local.aws import EmbeddedAWS
from local.folders import Folders
from local.options import Options
from local.search import Diverged, Proposal, Search, SearchError, Trial
from local.step import Step, Steps
from local.tune_folders import TuneFolders
from local.tune_options import TuneOptions, parse
from local.tune_page import Page, command, render, table
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.ranges import OBJECTIVES
from ogiri.parameter import from_strings

DATA_STEPS = 3


def main() -> int:
    """Run the search; returns the exit code."""
    return program.run("tune", lambda: tune(parse()), SearchError)


def tune(options: TuneOptions) -> None:
    """The data, the trials, the report."""
    folders = TuneFolders(options.demo.out)
    source = fingerprint(options.demo)
    missing = folders.source() != source
    folders.logs.mkdir(parents=True, exist_ok=True)
    shared = shared_hyperparameters(options)
    epochs = int(shared["epochs"])
    search = Search(folders.storage, question(options, shared, source), options.metric, options.parameters, epochs)
    search.begin_with(dataclasses.asdict(from_strings(CaptionHyperparameters, options.demo.hyperparameters)))
    steps = Steps(DATA_STEPS * missing + max(0, options.trials - len(search.trials)))
    if missing:
        collect(options.demo, folders, steps)
        folders.source_file.write_text(source, encoding="utf-8")
    while len(search.trials) < options.trials:
        proposal = search.propose()
        with steps.step(f"Trial {len(search.trials) + 1} of {options.trials}: {_pairs(proposal.values)}") as step:
            step.result = run_trial(search, proposal, folders, shared, step)
    print(finish(options, folders, search, shared))


def fingerprint(demo: Options) -> str:
    """Of what the data is made from: the same data is not ingested again."""
    rows = demo.csv.read_bytes() if demo.csv else b"examples"
    places = [str(path.resolve()) if path else None for path in (demo.images, demo.pretrained)]
    return hashlib.sha256(rows + json.dumps(places).encode()).hexdigest()


def shared_hyperparameters(options: TuneOptions) -> dict[str, str]:
    """What all trials have in common: each ships the epoch that is best by the objective, and none quantises."""
    own = {"select_by": OBJECTIVES[options.metric].select_by, "quantize": "false"}
    return {**own, **options.demo.hyperparameters}


def question(options: TuneOptions, shared: Mapping[str, str], source: str) -> str:
    """The name of a search: trials of another one say nothing about this one."""
    asked = [source, options.metric, list(options.parameters), dict(shared)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def collect(demo: Options, folders: TuneFolders, steps: Steps) -> None:
    """Pictures and records as the demo makes them, kept as two channels."""
    own = Folders(demo.out)
    shutil.rmtree(folders.data, ignore_errors=True)
    with contextlib.ExitStack() as cloud:
        with steps.step("Read the rows" if demo.csv else "Draw the example pictures") as step:
            items, images = stage.rows(demo, step)
        with steps.step("Start S3, DynamoDB and Rekognition on this machine") as step:
            aws, _ = cloud.enter_context(stage.embedded_cloud(demo, own, step))
        with steps.step("Ingest: pictures to S3, labels and text from Rekognition, records to DynamoDB") as step:
            stage.ingested(items, images, aws, step)
            job.download(aws.client("s3"), aws.bucket, stage.IMAGES_PREFIX, folders.channel("training"))
            write_records(aws, folders.channel("records"))


def write_records(aws: EmbeddedAWS, channel: Path) -> None:
    """The table as a `records` channel."""
    channel.mkdir(parents=True)
    pages = aws.resource("dynamodb").meta.client.get_paginator("scan").paginate(TableName=aws.table)
    with (channel / "records.jsonl").open("w", encoding="utf-8") as file:
        for page in pages:
            for item in page["Items"]:
                file.write(json.dumps(item, ensure_ascii=False, default=float) + "\n")


def run_trial(search: Search, proposal: Proposal, folders: TuneFolders, shared: Mapping[str, str], step: Step) -> str:
    """One trial; returns what came of it in a line."""
    metric, epochs = search.metric, int(shared["epochs"])

    def train(number: int, values: Mapping[str, str], on_line: Callable[[str], None]) -> None:
        channels = {path.name: path for path in sorted(folders.data.iterdir()) if path.is_dir()}
        job.prepare(folders.trial, {**shared, **values}, channels)
        folders.lend_pictures()
        environment = {**os.environ, "TRAINING_JOB_NAME": f"tune-{number:03}"}
        try:
            job.train(folders.trial, environment, folders.log(number), on_line)
        except job.JobError as error:
            if str(error).startswith("AlgorithmError"):
                raise Diverged(str(error).partition("\n")[0]) from error
            raise
        finally:
            folders.keep_pictures()

    def on_value(epoch: int, value: float) -> None:
        step.progress(epoch, epochs, f"{metric} {value:.4g}")

    trial = search.run(proposal, train, on_value)
    is_best = search.best is not None and search.best.number == trial.number
    folders.end_trial(keep=is_best)
    return _outcome(trial, metric) + (", the best so far" if is_best else "")


def finish(options: TuneOptions, folders: TuneFolders, search: Search, shared: Mapping[str, str]) -> str:
    """Write report.html and best.json; returns what to say at the end."""
    best = search.best
    if best is None:
        raise SearchError(f"no trial ran to its end: see the logs in {folders.logs}")
    hyperparameters = {"select_by": shared["select_by"], **options.demo.hyperparameters, **best.values}
    text = json.dumps(hyperparameters, indent=2)
    folders.best_file.write_text(text + "\n", encoding="utf-8")
    again = command(options.demo, hyperparameters)
    page = Page(options.metric, search.maximize, search.trials, best, options.parameters, again, text)
    folders.page.write_text(render(page), encoding="utf-8")
    return (
        f"\n{table(page)}\n\nTrain with the best ones:\n  {again}\n"
        f"As hyperparameters of a training job ({folders.best_file}):\n{text}\nAll trials: {folders.page.resolve()}"
    )


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _outcome(trial: Trial, metric: str) -> str:
    if trial.best is None:
        return f"failed after {len(trial.curve)} epochs"
    given_up = ", given up" if trial.state == "given up" else ""
    return f"{metric} {trial.best:.4g} in {len(trial.curve)} epochs{given_up}"


if __name__ == "__main__":
    sys.exit(main())
