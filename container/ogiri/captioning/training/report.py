"""What a job leaves beside the graphs: metrics.json, samples.jsonl, report.html and weights, and the model card.

The page and the card are made of what metrics.json holds, so that all of them say the same numbers.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.records import Records
from ogiri.captioning.training import publish
from ogiri.captioning.training.dataset import Dataset
from ogiri.captioning.training.evaluate import Evaluation, EvaluationSet
from ogiri.captioning.training.fingerprint import data_fingerprint
from ogiri.captioning.training.fitting import Progress
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.model_card import MODEL_CARD, model_card
from ogiri.captioning.training.report_looks import look
from ogiri.captioning.training.report_page.data import Look, ReportData, Shown
from ogiri.captioning.training.report_page.page import render
from ogiri.captioning.training.report_pictures import show
from ogiri.captioning.training.report_run import machine, reproduction, versions
from ogiri.captioning.training.report_warnings import job_warnings
from ogiri.task import TrainingContext

REPORT = "report.html"
LOOKS = (("best", 2), ("middle", 1), ("worst", 1))  # pictures of each group whose attention is shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a job has come to.

    Attributes:
        context: of the job.
        facts: as `facts` gave them.
        dataset: both sides.
        progress: of the training.
        quantization: as `publish_graphs` gave it.
        model: trained, on the CPU.
        device: that it was trained on.
        data: what was evaluated; None where the job was asked to end before it.
        evaluation: what came of it; None where the job was asked to end before it was done.
        seconds: of each stage.
    """

    context: TrainingContext
    facts: dict[str, Any]
    dataset: Dataset
    progress: Progress
    quantization: dict[str, Any]
    model: Model
    device: torch.device
    data: EvaluationSet | None
    evaluation: Evaluation | None
    seconds: dict[str, float]


def facts(
    hp: CaptionHyperparameters,
    records: Records,
    arrays: PictureArrays,
    dataset: Dataset,
    progress: Progress,
    quantization: dict[str, Any],
) -> dict[str, Any]:
    """Sizes and the figures of the epoch whose weights are shipped, for manifest, metrics.json and model card."""
    last = progress.history[progress.best_epoch - 1] if progress.best_epoch else (progress.history or [{}])[-1]
    return {
        "records": len(records),
        "pictures": len(records.pictures),
        "broken_pictures": len(arrays.broken),
        "train_pictures": len(dataset.train),
        "train_lines": len(dataset.train.examples),
        "validation_pictures": len(dataset.validation),
        "validation_lines": len(dataset.validation.examples),
        "cut_lines": dataset.cut_lines,
        "vocabulary": dataset.tokenizer.vocabulary,
        "encoder": hp.encoder,
        "decoder": hp.decoder,
        "decoder_weights": quantization["decoder"],
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        **{name: value for name, value in last.items() if name.startswith(("train_", "validation_"))},
    }


def headline(evaluation: Evaluation | None) -> dict[str, Any]:
    """The free-running figures that belong beside `facts`; none where the job was asked to end early."""
    if evaluation is None:
        return {}
    names = ("bleu_4", "cider", "chrf", "picture_shuffle_gap")
    return {f"free_running_{name}": evaluation.metrics[name] for name in names}


def write_report(outcome: Outcome) -> None:
    """Everything that a job leaves beside the graphs; see the module's text."""
    context, evaluation = outcome.context, outcome.evaluation
    context.output.mkdir(parents=True, exist_ok=True)
    figures = job_figures(outcome)
    for warning in figures["warnings"]:
        log.warning("%s", warning)
    publish.write_json(context.output / "metrics.json", figures)
    samples = evaluation.samples if evaluation else []
    (context.output / "samples.jsonl").write_text(
        "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples), encoding="utf-8"
    )
    parts: dict[str, torch.nn.Module] = {"decoder": outcome.model.decoder}
    if outcome.model.encoder is not None:
        parts["encoder"] = outcome.model.encoder
    publish.save_weights(context.output / "weights", parts)
    (context.model / MODEL_CARD).write_text(model_card(figures), encoding="utf-8")
    (context.output / REPORT).write_text(render(_report(outcome, figures)), encoding="utf-8")


def job_figures(outcome: Outcome) -> dict[str, Any]:
    """What metrics.json holds, and so what every other report says."""
    context, dataset, evaluation = outcome.context, outcome.dataset, outcome.evaluation
    hp: CaptionHyperparameters = context.hyperparameters
    held_out = set(dataset.validation.pictures.keys)
    figures = {
        "job": context.job_name,
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hyperparameters": dataclasses.asdict(hp),
        **outcome.facts,
        "seconds": outcome.seconds,
        "free_running": evaluation.metrics if evaluation else None,
        "quantization": outcome.quantization,
        "data": dataset.summary.as_dict(),
        "pictures_on_both_sides": sum(key in held_out for key in dataset.train.pictures.keys),
        "machine": machine(outcome.device),
        "versions": versions(),
        "reproduce": reproduction(context.job_name, hp, context.channels, data_fingerprint(dataset), os.environ),
        "history": outcome.progress.history,
    }
    return {**figures, "warnings": job_warnings(figures, evaluation.warnings if evaluation else None)}


def _report(outcome: Outcome, figures: dict[str, Any]) -> ReportData:
    if outcome.data is None or outcome.evaluation is None:
        return ReportData(figures, [], [], "There is no line to look at: the job was asked to end early.")
    chosen = show(outcome.context.channels["training"], outcome.evaluation.samples)
    try:
        looks, reason = _looks(outcome, outcome.data, outcome.evaluation, chosen), ""
    except NotImplementedError as error:
        looks, reason = [], f"This is not shown: {error}."
    return ReportData(figures, [shown for _, shown in chosen], looks, reason)


def _looks(
    outcome: Outcome, data: EvaluationSet, evaluation: Evaluation, chosen: Sequence[tuple[int, Shown]]
) -> list[Look]:
    wanted = [one for group, most in LOOKS for one in [each for each in chosen if each[1].group == group][:most]]
    return [
        Look(
            shown,
            look(
                outcome.model.decoder,
                outcome.dataset.tokenizer,
                data.maps[index],
                data.conditions[index],
                data.pictures[index].labels,
                evaluation.tokens[index],
            ),
        )
        for index, shown in wanted
    ]
