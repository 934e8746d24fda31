"""What a job tells about itself: the manifest's figures, output/data, and the model card."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

import torch

from ogiri.captioning.data.features import PictureArrays
from ogiri.captioning.data.records import Records
from ogiri.captioning.training import publish
from ogiri.captioning.training.dataset import Dataset
from ogiri.captioning.training.evaluate import Evaluation
from ogiri.captioning.training.fit import Progress
from ogiri.captioning.training.hyperparameters import CaptionHyperparameters
from ogiri.captioning.training.model import Model
from ogiri.task import TrainingContext

log = logging.getLogger(__name__)


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


def write_report(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    facts: dict[str, Any],
    progress: Progress,
    evaluation: Evaluation | None,
    model: Model,
) -> None:
    """output/data: metrics.json, samples.jsonl and the weights; MODEL_CARD.md in the artifact."""
    context.output.mkdir(parents=True, exist_ok=True)
    warnings = evaluation.warnings if evaluation else ["not evaluated: the job was asked to end early"]
    for warning in warnings:
        log.warning("%s", warning)
    publish.write_json(
        context.output / "metrics.json",
        {
            "job": context.job_name,
            "hyperparameters": dataclasses.asdict(hp),
            **facts,
            "free_running": evaluation.metrics if evaluation else None,
            "warnings": warnings,
            "history": progress.history,
        },
    )
    samples = evaluation.samples if evaluation else []
    (context.output / "samples.jsonl").write_text(
        "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples), encoding="utf-8"
    )
    parts: dict[str, torch.nn.Module] = {"decoder": model.decoder}
    if model.encoder is not None:
        parts["encoder"] = model.encoder
    publish.save_weights(context.output / "weights", parts)
    if hp.export_weights:
        publish.save_weights(context.model, parts)
    publish.write_model_card(context.model, context.job_name, facts | headline(evaluation), warnings)
