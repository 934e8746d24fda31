"""`task=caption`: the data's way from records to an artifact, one call a stage."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ogiri import picture
from ogiri.captioning.data.features import Interrupted, PictureArrays, feature_maps, pixels
from ogiri.captioning.data.records import Records
from ogiri.captioning.data.scan import read_channel, scan
from ogiri.captioning.model.decoder import Decoder
from ogiri.captioning.model.encoder import Encoder, load_encoder
from ogiri.captioning.model.lstm import LSTMDecoder, LSTMDimensions
from ogiri.captioning.serving.captioner import open_captioner
from ogiri.captioning.training import publish, report
from ogiri.captioning.training.dataset import Dataset, Part, build_dataset
from ogiri.captioning.training.evaluate import MAX_EVALUATED_PICTURES, Evaluation, EvaluationSet, evaluate
from ogiri.captioning.training.examples import token_frequencies
from ogiri.captioning.training.fingerprint import job_fingerprint, weights_fingerprint
from ogiri.captioning.training.fit import Fitting, fit
from ogiri.captioning.training.hyperparameters import HEADS, CaptionHyperparameters
from ogiri.captioning.training.model import Model
from ogiri.captioning.training.quality import MAX_GATE_LINES, MIN_GATE_LINES
from ogiri.task import TrainingContext, UserError

DEFAULT_TABLE = "OgiriTrainingDataTable"
OWN_WEIGHTS = Path(__file__).resolve().parents[3] / "pretrained"  # encoder weights that an image was built with
PARITY_PICTURES = 4
ENCODE_BATCH = 64

log = logging.getLogger(__name__)


class CaptionTrainer:
    """See `ogiri.task.Trainer`."""

    hyperparameters = CaptionHyperparameters

    def run(self, context: TrainingContext) -> Path:
        """Train, export, evaluate; an empty model folder when the job is asked to end before the first step.

        Raises:
            UserError: something about the data, the channels or the hyperparameters can be mended.
        """
        hp: CaptionHyperparameters = context.hyperparameters
        clock = _Clock()
        device = pick_device(hp)
        encoder = build_encoder(context, hp)
        records = read_records(context, hp)
        clock.lap("records")
        try:
            arrays = read_pictures(context, hp, records, encoder, device)
        except Interrupted:
            return context.model
        clock.lap("pictures")
        dataset = build_dataset(records, arrays, hp)
        model = build_model(hp, dataset, encoder)
        progress = fit(model, _fitting(context, hp, dataset, encoder, device))
        clock.lap("training")
        if progress.steps == 0:
            return context.model
        encoder, decoder = encoder.cpu(), model.decoder.cpu()
        quantization = publish.publish_graphs(
            context.model, encoder, decoder, dataset.tokenizer, _gate_lines(hp, dataset, encoder, context), hp.quantize
        )
        clock.lap("export")
        facts = report.facts(hp, records, arrays, dataset, progress, quantization)
        described = _described(context, hp, dataset, decoder, quantization)
        publish.publish_manifest(context.model, described, facts)
        evaluation = _evaluate(context, hp, dataset, encoder)
        clock.lap("evaluation")
        report.write_report(context, hp, facts | {"seconds": clock.laps}, progress, evaluation, model)
        publish.publish_manifest(context.model, described, facts | report.headline(evaluation))
        return context.model


TRAINER = CaptionTrainer()


def pick_device(hp: CaptionHyperparameters) -> torch.device:
    """A GPU where there is one.

    Raises:
        UserError: `require_gpu`, and there is none.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if hp.require_gpu:
        raise UserError("require_gpu is true and no GPU is found: take an instance type with one, such as ml.g5.xlarge")
    log.info("no GPU is found: training on the CPU with %d threads", torch.get_num_threads())
    return torch.device("cpu")


def build_encoder(context: TrainingContext, hp: CaptionHyperparameters) -> Encoder:
    """The encoder with its weights; it is built first, because a wrong name or missing weights should fail at once."""
    torch.manual_seed(hp.seed)
    if hp.encoder_weights == "none":
        return Encoder(hp.encoder, hp.image_size)
    folders = [context.channels["pretrained"]] if "pretrained" in context.channels else []
    return load_encoder(hp.encoder, hp.image_size, [*folders, OWN_WEIGHTS], hp.allow_download)


def read_records(context: TrainingContext, hp: CaptionHyperparameters) -> Records:
    """Records from the `records` channel where there is one, else from the table."""
    if "training" not in context.channels:
        raise UserError(
            "there is no `training` channel: give the job one that holds the pictures, such as s3://BUCKET/images/"
        )
    if "records" in context.channels:
        return read_channel(context.channels["records"], hp.min_records)
    return scan(os.environ.get("DYNAMODB_TABLE_NAME") or DEFAULT_TABLE, hp.min_records)


def read_pictures(
    context: TrainingContext, hp: CaptionHyperparameters, records: Records, encoder: Encoder, device: torch.device
) -> PictureArrays:
    """Feature maps of a frozen encoder, or pixels for one that is trained, on disk."""
    folder, keys = context.channels["training"], [picture.key for picture in records.pictures]
    if hp.trains_encoder:
        out = context.checkpoints / "pixels.u8.sagemaker-ignore"
        return pixels(folder, keys, hp.image_size, out, context.stopping)
    out = context.checkpoints / "feature_maps.f16.sagemaker-ignore"
    encoder.requires_grad_(False).eval().to(device)
    return feature_maps(folder, keys, encoder, out, weights_fingerprint(encoder), context.stopping)


def build_model(hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder) -> Model:
    """A new decoder beside the encoder, which is part of the model only where it is trained."""
    torch.manual_seed(hp.seed)
    decoder = LSTMDecoder(
        LSTMDimensions(
            vocabulary=dataset.tokenizer.vocabulary,
            channels=encoder.channels,
            buckets=dataset.limits.buckets,
            max_label_pieces=dataset.limits.max_label_pieces,
            max_text_pieces=dataset.limits.max_text_pieces,
            width=hp.decoder_width,
            heads=HEADS,
            layers=hp.decoder_layers,
            embedding_dropout=0.6 * hp.dropout,
            output_dropout=hp.dropout,
        )
    )
    frequencies = token_frequencies(dataset.train.examples, dataset.tokenizer.vocabulary, dataset.tokenizer.eos)
    decoder.start_from(torch.from_numpy(frequencies))
    log.info(
        "decoder %s with %.1f million weights, encoder %s %s: %d cells of %d",
        hp.decoder,
        sum(p.numel() for p in decoder.parameters()) / 1e6,
        hp.encoder,
        "trained too" if hp.trains_encoder else "frozen",
        encoder.cells,
        encoder.channels,
    )
    return Model(decoder, encoder if hp.trains_encoder else None)


@dataclass
class _Clock:
    """Seconds of each stage."""

    def __post_init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._since, 2)
        self._since = now
        log.info("%s: %.1f s", name, self.laps[name])


def _fitting(
    context: TrainingContext, hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder, device: torch.device
) -> Fitting:
    return Fitting(
        train=dataset.train.examples,
        validation=dataset.validation.examples,
        references=dataset.validation.references,
        tokenizer=dataset.tokenizer,
        hyperparameters=hp,
        device=device,
        checkpoint=context.checkpoints / "training.pt",
        fingerprint=job_fingerprint(hp, dataset, encoder),
        stopping=context.stopping,
        report_metrics=context.report_metrics,
        trace=context.output / "trace.json" if hp.profile else None,
    )


def _gate_lines(
    hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder, context: TrainingContext
) -> publish.GateLines:
    part = dataset.validation if len(dataset.validation.examples) >= MIN_GATE_LINES else dataset.train
    examples = part.examples
    most = MIN_GATE_LINES if context.stopping() else MAX_GATE_LINES
    chosen = np.unique(np.linspace(0, len(examples) - 1, min(most, len(examples))).astype(np.int64))
    pictures, rows = np.unique(examples.picture_of[chosen], return_inverse=True)
    return publish.GateLines(
        pictures=_some_pixels(hp, part, context.channels["training"]),
        maps=_maps(part, pictures, encoder, hp),
        rows=rows.reshape(-1).astype(np.int64),
        conditions=[examples.conditions[p] for p in examples.picture_of[chosen].tolist()],
        lines=[examples.lines[i] for i in chosen],
    )


def _some_pixels(hp: CaptionHyperparameters, part: Part, folder: Path) -> npt.NDArray[np.uint8]:
    keys = [one.key for one in part.pictures[:PARITY_PICTURES]]
    return np.stack([picture.load((folder / key).read_bytes(), hp.image_size) for key in keys])


def _maps(
    part: Part, pictures: npt.NDArray[np.int64], encoder: Encoder, hp: CaptionHyperparameters
) -> npt.NDArray[np.generic]:
    """Feature maps (pictures, cells, channels) of some pictures of one side, made now where the encoder was trained."""
    stored = part.examples.pictures[part.rows[pictures]]
    if not hp.trains_encoder:
        return stored
    encoder.eval()
    with torch.inference_mode():
        batches = [encoder(torch.from_numpy(stored[i : i + ENCODE_BATCH])) for i in range(0, len(stored), ENCODE_BATCH)]
    maps: npt.NDArray[np.generic] = torch.cat(batches).float().numpy()
    return maps


def _evaluate(
    context: TrainingContext, hp: CaptionHyperparameters, dataset: Dataset, encoder: Encoder
) -> Evaluation | None:
    if context.stopping():
        return None
    held_out = len(dataset.validation) > 0
    part = dataset.validation if held_out else dataset.train
    some = np.arange(min(MAX_EVALUATED_PICTURES, len(part)))
    manifest = json.loads((context.model / "manifest.json").read_text(encoding="utf-8"))
    return evaluate(
        open_captioner(context.model, manifest, with_encoder=False),
        EvaluationSet(
            split="validation" if held_out else "train",
            pictures=[part.pictures[i] for i in some.tolist()],
            maps=_maps(part, some, encoder, hp),
            conditions=[part.examples.conditions[i] for i in some.tolist()],
            references=[part.references[i] for i in some.tolist()],
        ),
        training_lines={line for lines in dataset.train.references for line in lines},
        tokens="word" if hp.metric_tokens == "word" else "character",
        stopping=context.stopping,
    )


def _described(
    context: TrainingContext,
    hp: CaptionHyperparameters,
    dataset: Dataset,
    decoder: Decoder,
    quantization: dict[str, Any],
) -> publish.Described:
    return publish.Described(
        job_name=context.job_name,
        size=hp.image_size,
        limits=dataset.limits,
        controls=dataset.control_edges,
        tokenizer=dataset.tokenizer,
        decoder=decoder,
        decoder_name=hp.decoder,
        max_tokens=hp.max_length,
        quantization=quantization,
    )
